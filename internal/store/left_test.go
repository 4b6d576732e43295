package store

import (
	"net/netip"
	"testing"

	"cke/internal/cluster"
)

func TestNodesThatHaveLeftAreKeptUntilForgotten(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(leaving, left []cluster.Node) {
		t.Helper()
		snap, err := s.Load(ctx, "main")
		must(err)
		equal(t, "leaving", snap.Leaving, leaving)
		equal(t, "left", snap.Left, left)
	}
	put(t, s, spec("main", 1, 2, 3, 4))
	bootstrapped(t, s, "main")
	put(t, s, spec("main", 1))
	must(s.ForgetLeaving(ctx, "main", "cp2"))
	must(s.ForgetLeaving(ctx, "main", "cp2"))
	must(s.ForgetLeaving(ctx, "main", "cp3"))
	must(s.ForgetLeaving(ctx, "main", "cp9"))
	is([]cluster.Node{node(4)}, []cluster.Node{node(2), node(3)})

	// The same machine again, and one of the same name that is another machine.
	again := spec("main", 1, 2, 3)
	for i := range again.Nodes {
		again.Nodes[i].User = "cke"
	}
	again.Nodes[2].Address = netip.MustParseAddr("10.0.0.99")
	put(t, s, again)
	is([]cluster.Node{node(4)}, []cluster.Node{node(3)})

	// It leaves as well: both are known, by their addresses.
	put(t, s, spec("main", 1))
	must(s.ForgetLeaving(ctx, "main", "cp3"))
	snap, err := s.Load(ctx, "main")
	must(err)
	if len(snap.Left) != 2 || len(snap.Leaving) != 2 {
		t.Fatalf("left %v, leaving %v", snap.Left, snap.Leaving)
	}
	must(s.ForgetLeft(ctx, "main", node(3)))
	must(s.ForgetLeft(ctx, "main", node(3)))
	must(s.ForgetLeft(ctx, "main", node(4)))
	is([]cluster.Node{again.Nodes[1]}, []cluster.Node{again.Nodes[2]})
}
