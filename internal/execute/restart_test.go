package execute

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

// notebook is a store that keeps the record of a restart.
type notebook struct {
	Store
	restart *cluster.Restart
}

func (n *notebook) PutRestart(_ context.Context, _ string, r cluster.Restart) error {
	n.restart = &r
	return nil
}

func (n *notebook) DropRestart(context.Context, string, cluster.Restart) error {
	n.restart = nil
	return nil
}

// picky is the machine of cp2, which says no to a unit.
type picky struct {
	machine
	no error
}

func (p picky) InstallUnit(context.Context, cluster.Unit) error { return p.no }

// pickyHosts reaches it.
type pickyHosts struct {
	c  *three
	no error
}

func (h pickyHosts) Host(n cluster.Node) (host.Host, error) {
	return picky{machine{c: h.c, name: n.Hostname}, h.no}, nil
}

// What a member works with is on record before its host is asked for another unit.
// Where the host refuses, the record is what it was; where nobody knows what became of
// the question, it stays.
func TestTheRecordOfARestartComesFirst(t *testing.T) {
	old := cluster.Restart{Node: "cp2", Member: 2, Failed: "another"}
	for name, c := range map[string]struct {
		before *cluster.Restart
		no     error
		stays  bool
		did    []Effect
	}{
		"refused":           {no: &host.InvalidError{Reason: "etcd 3.7.3 has no flag --zebra"}, did: []Effect{StorePutRestart, HostInstallUnit, StoreDropRestart}},
		"refused by guard":  {no: &host.GuardError{Kind: host.NoSpace, Reason: "no room"}, did: []Effect{StorePutRestart, HostInstallUnit, StoreDropRestart}},
		"refused, as twice": {before: &old, no: &host.InvalidError{Reason: "no such flag"}, did: []Effect{StorePutRestart, HostInstallUnit, StorePutRestart}},
		"unknown":           {no: errors.New("session ended"), stays: true, did: []Effect{StorePutRestart, HostInstallUnit}},
	} {
		t.Run(name, func(t *testing.T) {
			three := newThree(t)
			notes := &notebook{restart: c.before}
			three.w.Restart = c.before
			three.x.o.Store, three.x.o.Hosts = notes, pickyHosts{three, c.no}
			from := cluster.Unit{Cluster: "main", Node: "cp2", Member: 2, Version: "3.7.3", Quota: 1 << 30}
			to := from
			to.Quota++
			three.on = cluster.UnitState{Unit: from, Running: true, Started: &from, Sealed: true}
			err := three.run(t.Context(), plan.Step{
				Kind: plan.RestartMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2,
				Restart: &cluster.Restart{Node: "cp2", Member: 2, From: from, To: to, At: time.Now()},
			})
			if !errors.Is(err, c.no) || !slices.Equal(three.did, c.did) {
				t.Errorf("%v, did %v, want %v", err, three.did, c.did)
			}
			switch {
			case c.stays && (notes.restart == nil || !notes.restart.From.Equal(from)):
				t.Errorf("on record is %+v", notes.restart)
			case !c.stays && notes.restart != nil && (c.before == nil || notes.restart.Failed != c.before.Failed):
				t.Errorf("on record is %+v, was %+v", notes.restart, c.before)
			}
		})
	}
}
