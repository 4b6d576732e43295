package observe

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// TestSetbacks: whose member did not serve and was then taken out is told with
// each look.
func TestSetbacks(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := New(Options{Now: func() time.Time { return now }, Etcd: &slowEtcd{}})
	n := cluster.Node{Hostname: "cp4", ControlPlane: true, Address: netip.MustParseAddr("10.0.0.4")}
	w := Wanted{Spec: cluster.Spec{Name: "main", Nodes: []cluster.Node{n}}.WithDefaults()}
	see := func(members ...cluster.Member) {
		o.conclude(w, cluster.EtcdState{Quorum: true, Members: members}, now)
		now = now.Add(6 * time.Minute)
	}
	learner := cluster.Member{ID: 4, PeerURL: n.PeerURL(), Learner: true}
	see(learner)
	see(learner)
	if got := o.knownSetbacks(); len(got) > 0 {
		t.Fatalf("a learner that is still in: %v", got)
	}
	see()
	if got := o.knownSetbacks()["cp4"].Learners; got != 1 {
		t.Errorf("%d learners never came", got)
	}
	learner.Learner, learner.Healthy = false, true
	see(learner)
	if got := o.knownSetbacks(); len(got) > 0 {
		t.Errorf("it votes, and there is %v", got)
	}
}

// TestAskAgain: a member without a process when its host was last asked is asked
// by a guard that is about to have it removed.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	o := New(Options{})
	n := cluster.Node{Hostname: "cp1", ControlPlane: true, Address: netip.MustParseAddr("10.0.0.1")}
	w := Wanted{Spec: cluster.Spec{Nodes: []cluster.Node{n}}}
	ep := etcd.Endpoint(n.ClientURL())
	o.endpoints[ep] = true
	o.ask(w, map[cluster.NodeName]cluster.NodeState{n.Hostname: {Unit: &cluster.UnitState{}}})
	if got := o.ask(w, nil); len(got) > 0 {
		t.Fatalf("a stopped member is asked: %v", got)
	}
	o.AskAgain(n)
	if got := o.ask(w, nil); !slices.Equal(got, []etcd.Endpoint{ep}) {
		t.Errorf("asked is %v", got)
	}
}
