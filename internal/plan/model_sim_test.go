package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// sim is the whole world as one value: CKE's store, the hosts, etcd, time, and
// what CKE's observer remembers. A clone of it is another world.
type sim struct {
	t     *rapid.T
	quiet bool // a clone on trial
	now   time.Time
	store shelf
	hosts map[cluster.NodeName]*box
	raft  consensus
	eyes  eyes
	epoch int64 // each cke has its own
	turn  int
	aim   []cluster.NodeName // whom the next faults strike; nil: anyone
	done  map[Kind]int       // how many steps succeeded, in all worlds
	kube  publication
}

// shelf is what CKE's store holds.
type shelf struct {
	spec    cluster.Spec
	boot    cluster.Bootstrap
	leaving []cluster.Node
	users   []cluster.User
	removed []cluster.RemovedUser
	defrag  []cluster.DefragRequest
	restart *cluster.Restart // never changed in place
	drains  []cluster.Drain  // nor this
	reboot  *cluster.Reboot
	// snapshot is the last one before a change of version; never changed in place.
	snapshot *cluster.Snapshot
}

const clusterID cluster.ClusterID = 0xc1

// universe is every host there is.
func universe() []cluster.NodeName {
	return []cluster.NodeName{"n1", "n2", "n3", "n4", "n5", "n6", "n7"}
}

func newSim(t *rapid.T) *sim {
	s := &sim{
		t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		hosts: map[cluster.NodeName]*box{}, eyes: newEyes(),
		raft: consensus{nextID: 0x100, ran: map[cluster.MemberID]bool{}, removed: map[cluster.MemberID]uint64{}, auth: cluster.Auth{
			Users: map[string][]string{}, Roles: map[string][]cluster.Permission{},
		}},
	}
	for i, name := range universe() {
		n := cluster.Node{Hostname: name, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		if i%2 == 1 {
			n.User = "cke" // a machine that gets etcd from CKE
		}
		s.hosts[name] = &box{
			node:  n,
			seals: map[cluster.MemberID]bool{}, dirs: map[cluster.MemberID]*replica{},
		}
	}
	s.store.spec = s.drawSpec(t)
	s.kube.wanted = rapid.Bool().Draw(t, "kubeconfig")
	return s
}

func (s *sim) clone() *sim {
	c := *s
	c.store.spec.Nodes = slices.Clone(s.store.spec.Nodes)
	c.store.leaving = slices.Clone(s.store.leaving)
	c.hosts = map[cluster.NodeName]*box{}
	for name, b := range s.hosts {
		c.hosts[name] = b.clone()
	}
	c.raft.ran = maps.Clone(s.raft.ran)
	c.raft.removed = maps.Clone(s.raft.removed)
	c.raft.auth.Users = maps.Clone(s.raft.auth.Users)
	c.raft.auth.Roles = maps.Clone(s.raft.auth.Roles)
	c.eyes = s.eyes.clone()
	return &c
}

func (s *sim) logf(format string, args ...any) {
	if !s.quiet {
		s.t.Logf(format, args...)
	}
}

func (s *sim) boxes() []*box {
	names := universe()
	bs := make([]*box, len(names))
	for i, n := range names {
		bs[i] = s.hosts[n]
	}
	return bs
}

// replicas are the logs that are or can be in use: in a running process, or
// whole on a disk. What was moved aside or wiped is not.
func (s *sim) replicas() map[cluster.MemberID]*replica {
	all := map[cluster.MemberID]*replica{}
	for _, b := range s.boxes() {
		for id, r := range b.dirs {
			if r.mark || !b.seals[id] {
				all[id] = r
			}
		}
		if b.proc != nil {
			all[b.proc.unit.Member] = b.proc.replica
		}
	}
	return all
}

func (s *sim) replicaOf(id cluster.MemberID) *replica { return s.replicas()[id] }

// intact is how many voters still have their log. A founder that never ran has
// nothing to lose while the cluster is being founded.
func (s *sim) intact() int {
	all, n := s.replicas(), 0
	for _, v := range s.raft.agreed.voters() {
		if all[v.id] != nil || s.store.boot.Phase == cluster.PhaseBootstrapping && !s.raft.ran[v.id] {
			n++
		}
	}
	return n
}

// lostForGood: too many voters lost their data for any quorum ever again.
func (s *sim) lostForGood() bool {
	return s.raft.acked > 0 && s.intact() < cluster.Quorum(len(s.raft.agreed.voters()))
}

// inspect holds what must be true at every instant: whoever could be elected
// with the logs there are has every acknowledged entry, and someone could be
// unless the environment destroyed a quorum.
func (s *sim) inspect() {
	all, some := s.replicas(), false
	for id, r := range all {
		if !electable(r, id, all) {
			continue
		}
		some = true
		if r.index < s.raft.acked {
			s.t.Fatalf("member %s can be elected with %d entries; %d were acknowledged", id, r.index, s.raft.acked)
		}
	}
	if s.store.boot.Phase == cluster.PhaseBootstrapped && !some && !s.lostForGood() {
		s.t.Fatalf("nobody can be elected, though %d of %d voters have their data", s.intact(), len(s.raft.agreed.voters()))
	}
}

// setSpec is what the API and the store do with a new spec, or why they do not.
func (s *sim) setSpec(spec cluster.Spec) error {
	ps := spec.Validate()
	if s.store.boot.Phase != cluster.PhaseNew {
		ps = append(ps, spec.ValidateChange(s.store.spec, s.store.leaving)...)
	}
	if cluster.HasErrors(ps) {
		return fmt.Errorf("%v", ps)
	}
	if s.store.boot.Phase != cluster.PhaseNew {
		var leaving []cluster.Node
		for _, n := range s.nodes() {
			if !slices.ContainsFunc(spec.Nodes, func(o cluster.Node) bool { return o.Hostname == n.Hostname }) {
				leaving = append(leaving, n)
			}
		}
		slices.SortFunc(leaving, func(a, b cluster.Node) int { return a.Address.Compare(b.Address) })
		s.store.leaving = leaving
	}
	s.store.spec = spec
	return nil
}

func (s *sim) forget(name cluster.NodeName) {
	s.store.leaving = slices.DeleteFunc(slices.Clone(s.store.leaving), func(n cluster.Node) bool { return n.Hostname == name })
}

func (s *sim) recordBootstrap(step Step) error {
	b := cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: token}
	for _, name := range step.Nodes {
		i := slices.IndexFunc(s.store.spec.Nodes, func(n cluster.Node) bool { return n.Hostname == name })
		if i < 0 {
			return fmt.Errorf("node %s is not in the spec", name)
		}
		n := s.store.spec.Nodes[i]
		b.Founders = append(b.Founders, cluster.Founder{Node: n, Member: idOf(n)})
	}
	s.store.boot = b
	return nil
}

// drawSpec draws up to five nodes, most of them able to carry a member.
func (s *sim) drawSpec(t *rapid.T) cluster.Spec {
	spec := cluster.Spec{Name: "main"}.WithDefaults()
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(universe()), 1, 5, rapid.ID).Draw(t, "nodes")
	able := 0
	for i, name := range names {
		n := s.hosts[name].node
		n.ControlPlane = i == 0 || rapid.IntRange(0, 9).Draw(t, "worker") != 9
		if n.ControlPlane {
			able++
		}
		n = drawTenants(t, n)
		spec.Nodes = append(spec.Nodes, n)
	}
	spec.Etcd.Members = rapid.IntRange(0, able).Draw(t, "members")
	return spec
}
