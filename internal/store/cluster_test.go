package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"net/netip"

	"cke/internal/cluster"
)

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestSpecIsStoredOnceAndConflictsAreTold(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	if _, _, err := s.Spec(ctx, "main"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	rev, changed, err := s.PutSpec(ctx, spec("main", 1, 2, 3), 0)
	if err != nil || !changed || rev == 0 {
		t.Fatalf("create: %d, %v, %v", rev, changed, err)
	}
	got, at, err := s.Spec(ctx, "main")
	if err != nil || at != rev {
		t.Errorf("read: %d, %v; want %d", at, err, rev)
	}
	equal(t, "spec", got, spec("main", 1, 2, 3))
	if again, changed, err := s.PutSpec(ctx, spec("main", 1, 2, 3), 0); err != nil || changed || again != rev {
		t.Errorf("same again: %d, %v, %v", again, changed, err)
	}
	if _, _, err := s.PutSpec(ctx, spec("main", 1), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("create over it: %v", err)
	}
	second, _, err := s.PutSpec(ctx, spec("main", 1), rev)
	if err != nil || second <= rev {
		t.Errorf("edit: %d, %v", second, err)
	}
	if _, _, err := s.PutSpec(ctx, spec("main", 2), rev); !errors.Is(err, ErrConflict) {
		t.Errorf("edit of an old one: %v", err)
	}
	if _, _, err := s.PutSpec(ctx, spec("a/b", 2), 0); err == nil {
		t.Error("a name with a slash was stored")
	}
}

func TestOfManyEditsOneWins(t *testing.T) {
	s := open(t, testOptions(t))
	rev := put(t, s, spec("main", 1))
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, _, errs[i] = s.PutSpec(t.Context(), spec("main", i+2), rev) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrConflict):
			t.Errorf("edit %d: %v", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d edits won", won)
	}
}

func TestClustersAreListedInOrder(t *testing.T) {
	s := open(t, testOptions(t))
	if names, err := s.Clusters(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("at first: %v, %v", names, err)
	}
	want := []string{"a", "a-b", "a0", "b", "main"}
	for _, name := range []string{"main", "a0", "b", "a", "a-b"} {
		put(t, s, spec(name, 1))
		if _, err := s.Append(t.Context(), testRecord(name, "set")); err != nil {
			t.Fatal(err)
		}
	}
	// History alone is no cluster.
	if _, err := s.Append(t.Context(), testRecord("ghost", "set")); err != nil {
		t.Fatal(err)
	}
	names, err := s.Clusters(t.Context())
	slices.Sort(names)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v", names, err)
	}
}

func bootstrapped(t *testing.T, s *Store, name string) {
	t.Helper()
	b := cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: "t", Founders: []cluster.Founder{{Node: node(1), Member: 7}}}
	if err := s.AdvanceBootstrap(t.Context(), name, cluster.PhaseNew, b); err != nil {
		t.Fatal(err)
	}
	b = cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, ClusterID: 9}
	if err := s.AdvanceBootstrap(t.Context(), name, cluster.PhaseBootstrapping, b); err != nil {
		t.Fatal(err)
	}
}

func TestNodesLeaveAndComeBack(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	leaving := func(want ...cluster.Node) {
		t.Helper()
		got, err := s.Leaving(ctx, "main")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "leaving", got, want)
	}
	put(t, s, spec("main", 1, 2, 3))
	put(t, s, spec("main", 1, 2, 4))
	leaving() // nothing was ever started on 3
	bootstrapped(t, s, "main")
	put(t, s, spec("main", 1, 5, 6))
	leaving(node(2), node(4))
	put(t, s, spec("main", 1, 4, 5))
	leaving(node(2), node(6))
	if err := s.ForgetLeaving(ctx, "main", "cp2"); err != nil {
		t.Fatal(err)
	}
	leaving(node(6))
	if err := s.ForgetLeaving(ctx, "main", "cp2"); err != nil {
		t.Errorf("forget twice: %v", err)
	}
}

func TestHostnameKeepsItsAddressWhileItsMemberIsThere(t *testing.T) {
	s := open(t, testOptions(t))
	moved := spec("main", 1, 2, 3)
	moved.Nodes[2].Address = netip.MustParseAddr("10.0.0.99")
	put(t, s, moved)
	rev := put(t, s, spec("main", 1, 2, 3)) // not bootstrapped: as one likes
	bootstrapped(t, s, "main")
	var address *AddressError
	if _, _, err := s.PutSpec(t.Context(), moved, rev); !errors.As(err, &address) || address.Node != "cp3" || address.Hint() == "" {
		t.Errorf("move: %v", err)
	}
	rev = put(t, s, spec("main", 1, 2))
	if _, _, err := s.PutSpec(t.Context(), moved, rev); !errors.As(err, &address) {
		t.Errorf("come back elsewhere while leaving: %v", err)
	}
	if err := s.ForgetLeaving(t.Context(), "main", "cp3"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.PutSpec(t.Context(), moved, rev); err != nil {
		t.Errorf("come back elsewhere once out: %v", err)
	}
}

func TestBootstrapOnlyGoesForwardOnce(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	begin := cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: "t", Founders: []cluster.Founder{{Node: node(1), Member: 7}}}
	if err := s.AdvanceBootstrap(ctx, "main", cluster.PhaseNew, begin); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a spec: %v", err)
	}
	put(t, s, spec("main", 1))
	refused := func(what string, from cluster.Phase, b cluster.Bootstrap, want error) {
		t.Helper()
		err := s.AdvanceBootstrap(ctx, "main", from, b)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	finish := cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, ClusterID: 9}
	refused("finish before begin", cluster.PhaseBootstrapping, finish, ErrConflict)
	refused("skip", cluster.PhaseNew, finish, nil)
	refused("no token", cluster.PhaseNew, cluster.Bootstrap{Phase: cluster.PhaseBootstrapping}, nil)
	if err := s.AdvanceBootstrap(ctx, "main", cluster.PhaseNew, begin); err != nil {
		t.Fatal(err)
	}
	refused("begin twice", cluster.PhaseNew, begin, ErrConflict)
	other := finish
	other.Token = "other"
	refused("other token", cluster.PhaseBootstrapping, other, nil)
	if err := s.AdvanceBootstrap(ctx, "main", cluster.PhaseBootstrapping, finish); err != nil {
		t.Fatal(err)
	}
	refused("finish twice", cluster.PhaseBootstrapping, finish, ErrConflict)
	refused("begin after the end", cluster.PhaseNew, begin, ErrConflict)
	refused("back", cluster.PhaseBootstrapped, begin, nil)
	refused("to new", cluster.PhaseBootstrapped, cluster.Bootstrap{}, nil)
	got, err := s.Bootstrap(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	begin.Phase, begin.ClusterID = cluster.PhaseBootstrapped, 9
	equal(t, "bootstrap", got, begin)
}

func TestOfManyBootstrapsOneBegins(t *testing.T) {
	s := open(t, testOptions(t))
	put(t, s, spec("main", 1))
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.AdvanceBootstrap(t.Context(), "main", cluster.PhaseNew,
				cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	began := 0
	for i, err := range errs {
		if err == nil {
			began++
		} else if !errors.Is(err, ErrConflict) {
			t.Errorf("bootstrap %d: %v", i, err)
		}
	}
	if began != 1 {
		t.Errorf("%d began", began)
	}
}

func TestPause(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	p := cluster.Pause{By: "uid 0", Why: "moving racks", At: time.Unix(1700000000, 0).UTC()}
	if err := s.SetPause(ctx, "main", p); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	put(t, s, spec("main", 1))
	if got, err := s.Pause(ctx, "main"); err != nil || got != nil {
		t.Errorf("at first: %v, %v", got, err)
	}
	if err := s.SetPause(ctx, "main", p); err != nil {
		t.Fatal(err)
	}
	got, err := s.Pause(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "pause", got, &p)
	for range 2 {
		if err := s.ClearPause(ctx, "main"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Pause(ctx, "main"); err != nil || got != nil {
		t.Errorf("cleared: %v, %v", got, err)
	}
}

func TestLoadIsEverythingAtOnce(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	if _, err := s.Load(ctx, "main"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	put(t, s, spec("main", 1, 2, 3))
	put(t, s, spec("main2", 9))
	bootstrapped(t, s, "main")
	rev := put(t, s, spec("main", 1, 2))
	p := cluster.Pause{By: "me", At: time.Unix(1700000000, 0).UTC()}
	if err := s.SetPause(ctx, "main", p); err != nil {
		t.Fatal(err)
	}
	for _, u := range []cluster.User{{Name: "b", Prefix: "/b/"}, {Name: "a", Prefix: "/a/"}} {
		if created, err := s.AddUser(ctx, "main", u); err != nil || !created {
			t.Fatal(created, err)
		}
	}
	got, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "snapshot", got, Snapshot{
		Spec: spec("main", 1, 2), Revision: rev,
		Bootstrap: cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, Token: "t", ClusterID: 9,
			Founders: []cluster.Founder{{Node: node(1), Member: 7}}},
		Users:   []cluster.User{{Name: "a", Prefix: "/a/"}, {Name: "b", Prefix: "/b/"}},
		Leaving: []cluster.Node{node(3)},
		Paused:  &p,
	})
}
