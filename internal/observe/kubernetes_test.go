package observe

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// TestWithdrawnSince: the first moment a member was about to go is kept while it
// is, and forgotten when it is to stay.
func TestWithdrawnSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := New(Options{Now: func() time.Time { return now }})
	spec := cluster.Spec{Name: "main"}.WithDefaults()
	st := cluster.State{Bootstrap: cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, ClusterID: 7}, Nodes: map[cluster.NodeName]cluster.NodeState{}}
	st.Etcd = cluster.EtcdState{Asked: true, Quorum: true, ClusterID: 7}
	for i := range 4 {
		n := cluster.Node{Hostname: cluster.NodeName('a' + rune(i)), ControlPlane: true, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		spec.Nodes = append(spec.Nodes, n)
		id := cluster.MemberID(i + 1)
		u := cluster.Unit{Member: id}
		st.Nodes[n.Hostname] = cluster.NodeState{Unit: &cluster.UnitState{Unit: u, Running: true, Sealed: true}, Data: []cluster.DataDir{{Member: id, WAL: true, Mark: true}}}
		st.Etcd.Members = append(st.Etcd.Members, cluster.Member{ID: id, Name: string(n.Hostname), PeerURL: n.PeerURL(), Healthy: true, Leader: i == 0})
	}
	gone := spec
	gone.Nodes = spec.Nodes[:3]
	leaving := st
	leaving.Leaving = spec.Nodes[3:]
	first := now
	for i, c := range []struct {
		spec cluster.Spec
		st   cluster.State
		want map[cluster.MemberID]time.Time
	}{
		{spec, st, nil},
		{gone, leaving, map[cluster.MemberID]time.Time{4: first.Add(time.Second)}},
		{gone, leaving, map[cluster.MemberID]time.Time{4: first.Add(time.Second)}},
		{spec, st, nil},
		{gone, leaving, map[cluster.MemberID]time.Time{4: first.Add(4 * time.Second)}},
	} {
		now = first.Add(time.Duration(i) * time.Second)
		if got := o.withdrawnSince(c.spec, c.st); !maps.Equal(got, c.want) {
			t.Errorf("look %d: %v, want %v", i, got, c.want)
		}
	}
}

// TestWhoCannotBeStoppedIsDrainedAnew: while a member is to be stopped before its removal
// its connections are left to it. When its host falls silent meanwhile they are to end
// first, and have the whole time for that.
func TestWhoCannotBeStoppedIsDrainedAnew(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := began
	o := New(Options{Now: func() time.Time { return now }})
	spec := cluster.Spec{Name: "main"}.WithDefaults()
	st := cluster.State{Bootstrap: cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, ClusterID: 7}, Nodes: map[cluster.NodeName]cluster.NodeState{}}
	st.Etcd = cluster.EtcdState{Asked: true, Quorum: true, ClusterID: 7}
	for i := range 4 {
		n := cluster.Node{Hostname: cluster.NodeName('a' + rune(i)), ControlPlane: true, Gateway: i == 0, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		spec.Nodes = append(spec.Nodes, n)
		id := cluster.MemberID(i + 1)
		st.Nodes[n.Hostname] = cluster.NodeState{Unit: &cluster.UnitState{Unit: cluster.Unit{Member: id}, Running: true, Sealed: true}, Data: []cluster.DataDir{{Member: id, WAL: true, Mark: true}}}
		st.Etcd.Members = append(st.Etcd.Members, cluster.Member{ID: id, Name: string(n.Hostname), PeerURL: n.PeerURL(), Healthy: true, Leader: i == 0})
	}
	st.Leaving, spec.Nodes = spec.Nodes[3:], spec.Nodes[:3]
	for i, c := range []struct {
		away bool
		want time.Duration
	}{{false, 0}, {false, 0}, {true, 2 * time.Second}, {true, 2 * time.Second}, {false, 2 * time.Second}} {
		now = began.Add(time.Duration(i) * time.Second)
		ns := st.Nodes["d"]
		if ns.Err = ""; c.away {
			ns.Err = "no answer"
		}
		st.Nodes["d"] = ns
		if got := o.withdrawnSince(spec, st); !maps.Equal(got, map[cluster.MemberID]time.Time{4: began.Add(c.want)}) {
			t.Errorf("look %d: %v, want %s after the first", i, got, c.want)
		}
	}
}

// TestPublishedIsUnknownAtFirst: a cke that has just begun does not take a member
// out as though Kubernetes sent nobody to it.
func TestPublishedIsUnknownAtFirst(t *testing.T) {
	t.Parallel()
	member := netip.MustParseAddr("10.0.0.1")
	told := cluster.Published{Wanted: true, Ready: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
	for _, c := range []struct {
		what, kubeconfig string
		says             cluster.Published
		offers           bool
	}{
		{"no Kubernetes", "", cluster.Published{}, false},
		{"nobody tells it yet", "/k", cluster.Published{}, true},
		{"it was heard", "/k", told, false},
	} {
		o := New(Options{Published: func() cluster.Published { return c.says }})
		spec := cluster.Spec{Kubernetes: cluster.Kubernetes{Kubeconfig: c.kubeconfig}}
		if got := o.published(spec).Offers(member); got != c.offers {
			t.Errorf("%s: offers it %v", c.what, got)
		}
	}
}

// TestConnectionsAreNoNews: their number always moves, as sizes do.
func TestConnectionsAreNoNews(t *testing.T) {
	t.Parallel()
	said := func(connections int, applied bool) *answer {
		return &answer{facts: host.Facts{Gateway: &cluster.GatewayState{
			Running: true, Applied: applied, Connections: map[cluster.NodeName]int{"cp1": connections},
		}}}
	}
	a, b := said(1, true), said(2, true)
	if !a.says(b) || a.facts.Gateway.Connections["cp1"] != 1 {
		t.Error("another number of connections is another answer")
	}
	if a.says(said(1, false)) {
		t.Error("a list that is not in force is no other answer")
	}
}
