package execute

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/pki"
	"cke/internal/plan"
)

// three is a cluster of three voters, of which the first leads. What a test does not
// expect to be called is nil, and panics.
type three struct {
	w  observe.Wanted
	e  cluster.EtcdState
	x  *Executor
	on cluster.UnitState // of cp2
	// hashed is what happens while the data is compared.
	hashed func()
	// asked is what happens when a host is asked; nil: nothing.
	asked func(context.Context, cluster.NodeName)
	// ended is what cp2's process has ended with when its end was waited for.
	ended *cluster.UnitState
	// stopped is what happens when cp2's process is stopped; nil: it must not be.
	stopped func() error
	// sends is what the leader's host says of its line to cp2; nil: it is not asked.
	sends func(context.Context) (bool, error)
	did   []Effect
	// anew is how often members that do not answer were to be waited for.
	anew int
}

func newThree(t *testing.T) *three {
	t.Helper()
	c := &three{hashed: func() {}, e: cluster.EtcdState{Asked: true, Quorum: true, ClusterID: 7}}
	c.w.Spec = cluster.Spec{Name: "main"}.WithDefaults()
	c.w.Bootstrap = cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, ClusterID: 7}
	for i, name := range []cluster.NodeName{"cp1", "cp2", "cp3"} {
		n := cluster.Node{Hostname: name, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), ControlPlane: true}
		c.w.Spec.Nodes = append(c.w.Spec.Nodes, n)
		c.e.Members = append(c.e.Members, cluster.Member{
			ID: cluster.MemberID(i + 1), Name: string(name), PeerURL: n.PeerURL(), Healthy: true, Leader: i == 0,
			RaftIndex: 100, RaftApplied: 100, RaftTerm: 2,
		})
	}
	authority, err := pki.NewAuthority("main", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	observer := observe.New(observe.Options{Hosts: c, Etcd: members{c: c}, Authority: authority, Identity: me, Now: time.Now, Log: log})
	t.Cleanup(observer.Close)
	c.x = New(Options{
		Cluster: "main", Hosts: c, Etcd: members{c: c}, Store: nothing{}, Observer: observer, Authority: authority, Now: time.Now, Log: log,
		After: func(_ plan.Kind, e Effect) { c.did = append(c.did, e) },
	})
	return c
}

func (c *three) run(ctx context.Context, s plan.Step) error {
	return c.x.Run(ctx, c.w, s, func(cluster.NodeName) {})
}

func (c *three) Host(n cluster.Node) (host.Host, error) { return machine{c: c, name: n.Hostname}, nil }

type machine struct {
	host.Host
	c    *three
	name cluster.NodeName
}

func (m machine) Facts(ctx context.Context, _ string, _ netip.Addr) (host.Facts, error) {
	if m.c.asked != nil {
		m.c.asked(ctx, m.name)
	}
	if m.name != "cp2" {
		return host.Facts{}, nil
	}
	u := m.c.on
	return host.Facts{Unit: &u}, nil
}

func (m machine) WaitUnit(context.Context, string, bool) error {
	if m.name != "cp2" || m.c.ended == nil {
		return errors.New("nobody ends")
	}
	m.c.on = *m.c.ended
	return nil
}

func (m machine) StopUnit(context.Context, host.StopUnit) error { return m.c.stopped() }

func (m machine) Sends(ctx context.Context, _ string, member, peer cluster.MemberID) (bool, error) {
	if lead := m.c.e.Members[member-1]; !lead.Leader || lead.Name != string(m.name) || peer != 2 {
		return false, errors.New("it is not the leader's host, or another is meant")
	}
	return m.c.sends(ctx)
}

// nothing is a store that must not be written to.
type nothing struct{ Store }

type members struct {
	Etcd
	c *three
}

func (m members) Observe(context.Context, []etcd.Endpoint, []cluster.Node) cluster.EtcdState {
	e := m.c.e
	e.Members = slices.Clone(e.Members)
	return e
}

func (m members) Hashes(_ context.Context, all []cluster.Member, _ []cluster.Node) []cluster.MemberHash {
	var hashes []cluster.MemberHash
	for _, o := range all {
		h := cluster.MemberHash{Member: o.ID, Revision: 50, Hash: 1}
		if o.Name == "cp2" {
			h.Hash = 2
		}
		if !o.Healthy {
			h = cluster.MemberHash{Member: o.ID, Err: "it does not answer"}
		}
		hashes = append(hashes, h)
	}
	m.c.hashed()
	return hashes
}

func (m members) AddLearner(context.Context, etcd.Endpoint, string) (cluster.MemberID, error) {
	return 4, nil
}

func (m members) Remove(context.Context, etcd.Endpoint, cluster.MemberID) error { return nil }

func (m members) Usage(context.Context, etcd.Endpoint, []string) ([]cluster.PrefixUsage, error) {
	return nil, nil
}

func (m members) Keep([]string) {}

func (m members) AskAnew([]etcd.Endpoint) { m.c.anew++ }

func (m members) Promote(context.Context, etcd.Endpoint, cluster.MemberID) error { return nil }

func removeCorrupt() plan.Step {
	return plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Serving: true, Corrupt: true}
}

func TestACorruptMemberIsRemoved(t *testing.T) {
	c := newThree(t)
	if err := c.run(t.Context(), removeCorrupt()); err != nil || !slices.Equal(c.did, []Effect{EtcdRemove}) {
		t.Errorf("%v, did %v", err, c.did)
	}
}

// A member that finds its data to be another ends, and is started again by systemd
// for as long as it is there. It is removed, whichever of the two it is just at.
func TestAMemberThatDoesNotStartOnItsDataIsRemoved(t *testing.T) {
	unit := cluster.Unit{Cluster: "main", Node: "cp2", Member: 2, Version: "3.7.3"}
	runs := cluster.UnitState{Unit: unit, Running: true, Started: &unit, Sealed: true}
	refuses := cluster.UnitState{Unit: unit, Sealed: true, Exit: "exit 1", Log: "2: found data inconsistency with peers"}
	crashes := cluster.UnitState{Unit: unit, Sealed: true, Exit: "exit 1", Log: "2: out of memory"}
	for name, c := range map[string]struct {
		on      cluster.UnitState
		ended   *cluster.UnitState
		removed bool
	}{
		"ended":                            {refuses, nil, true},
		"started again":                    {runs, &refuses, true},
		"started again a moment later":     {refuses, &crashes, true},
		"started again, and runs":          {runs, nil, false},
		"started again, and ends by other": {runs, &crashes, false},
	} {
		t.Run(name, func(t *testing.T) {
			three := newThree(t)
			three.e.Members[1].Healthy = false
			three.on, three.ended = c.on, c.ended
			three.hashed = func() { three.on = runs }
			s := removeCorrupt()
			s.Serving = false
			if err := three.run(t.Context(), s); (err == nil) != c.removed || (len(three.did) > 0) != c.removed {
				t.Errorf("%v, did %v", err, three.did)
			}
		})
	}
}

// To compare the data takes a minute where there is much of it: what was known of the
// members before is no ground for a removal.
func TestAVoterFallsWhileTheDataIsCompared(t *testing.T) {
	c := newThree(t)
	c.hashed = func() { c.e.Members[2].Healthy = false }
	err := c.run(t.Context(), removeCorrupt())
	if err == nil || !strings.Contains(err.Error(), "guard remove-member") || len(c.did) > 0 {
		t.Errorf("%v, did %v", err, c.did)
	}
}

// The hosts are asked whether a newer leader has acted, and one that just fell is waited
// for: what was known of the members before is no ground for a removal.
func TestAVoterFallsWhileHostsAreAsked(t *testing.T) {
	for name, takes := range map[string]time.Duration{"a silent one": 10 * time.Minute, "a slow one": lookIsFresh + time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newThree(t)
				c.asked = func(ctx context.Context, n cluster.NodeName) {
					switch n {
					case "cp1":
						c.e.Members[1].Healthy = false
					case "cp3":
						select {
						case <-time.After(takes):
						case <-ctx.Done():
						}
					}
				}
				err := c.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Serving: true})
				if err == nil || !strings.Contains(err.Error(), "member 2 does not serve any more") || len(c.did) > 0 {
					t.Errorf("%v, did %v", err, c.did)
				}
			})
		})
	}
}

// A member that was to be rolled back and serves by now is not stopped.
func TestAMemberServesBeforeItIsRolledBack(t *testing.T) {
	c := newThree(t)
	to := cluster.Unit{Cluster: "main", Node: "cp2", Member: 2, Version: "3.7.3", Quota: 2 << 30}
	from := to
	from.Quota--
	c.on = cluster.UnitState{Unit: to, Running: true, Started: &to, Sealed: true}
	r := cluster.Restart{Node: "cp2", Member: 2, From: from, To: to, Failed: "it runs and has not served for 1m0s"}
	err := c.run(t.Context(), plan.Step{Kind: plan.RollBackMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Restart: &r})
	if err == nil || !strings.Contains(err.Error(), "serves") || len(c.did) > 0 {
		t.Errorf("%v, did %v", err, c.did)
	}
}
