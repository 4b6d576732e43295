package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/store"
)

// TestOnlyWhatChangedIsLookedAt: a change of one cluster of many costs no look at the
// others, and one that could not be looked at is looked at later.
func TestOnlyWhatChangedIsLookedAt(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	broken := errors.New("the store is away")
	var fails error
	node := func(name string, n int) cluster.Node {
		return cluster.Node{Hostname: cluster.NodeName(fmt.Sprintf("%s-%d", name, n)), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})}
	}
	has := map[string]int{}
	f := fleet{nodes: map[string][]cluster.Node{}, changed: map[string]bool{}, load: func(_ context.Context, name string) ([]cluster.Node, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, name)
		return []cluster.Node{node(name, has[name])}, fails
	}}
	for i := range 100 {
		name := fmt.Sprintf("c%d", i)
		has[name], f.changed[name] = 1, true
	}
	if nodes, err := f.refresh(t.Context()); err != nil || len(nodes) != 100 || len(asked) != 100 {
		t.Fatalf("%d nodes of %d clusters, %v", len(nodes), len(asked), err)
	}
	asked, has["c7"], fails = nil, 2, broken
	f.changed["c7"] = true
	if _, err := f.refresh(t.Context()); !errors.Is(err, broken) {
		t.Errorf("while the store is away: %v", err)
	}
	fails = nil
	nodes, err := f.refresh(t.Context())
	if err != nil || len(nodes) != 100 || !slices.Contains(nodes, node("c7", 2)) || slices.Contains(nodes, node("c7", 1)) {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
	if !slices.Equal(asked, []string{"c7", "c7"}) {
		t.Errorf("clusters looked at: %v", asked)
	}
	if nodes, err := f.refresh(t.Context()); err != nil || len(nodes) != 100 || len(asked) != 2 {
		t.Errorf("without a change %d nodes, %v, and clusters looked at: %v", len(nodes), err, asked)
	}
}

// TestAFewAtATime: the store is neither asked one question after another nor all at
// once, and the first error ends it.
func TestAFewAtATime(t *testing.T) {
	t.Parallel()
	names := make([]string, 10*atOnce)
	var now, most, all atomic.Int32
	full := make(chan struct{})
	err := each(t.Context(), names, func(ctx context.Context, _ string) error {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if all.Add(1) == atOnce {
			close(full)
		}
		select {
		case <-full: // so many were asked at the same time
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil || all.Load() != int32(len(names)) || most.Load() != atOnce {
		t.Errorf("%d of %d, %d at once, %v", all.Load(), len(names), most.Load(), err)
	}
	broken := errors.New("broken")
	if err := each(t.Context(), names, func(ctx context.Context, _ string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("an error is %v", err)
	}
}

// TestACareIsBegunOnce: by however many at the same time, and not after the term.
func TestACareIsBegunOnce(t *testing.T) {
	t.Parallel()
	a := fleetOf(t, t.TempDir(), 20)
	must(t, a.Start(t.Context()))
	names, err := a.store.Clusters(t.Context())
	must(t, err)
	if len(names) != 20 || len(a.cares) != 20 {
		t.Errorf("%d clusters, %d cared for", len(names), len(a.cares))
	}
	must(t, createAuthority(t.Context(), a.store, "late", time.Now()))
	got := make([]*care, 50)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			c, err := a.careFor(t.Context(), "late")
			if err != nil {
				t.Error(err)
			}
			got[i] = c
		})
	}
	wg.Wait()
	for _, c := range got {
		if c == nil || c != got[0] {
			t.Errorf("begun twice: %p and %p", c, got[0])
		}
	}
	if _, err := a.careFor(t.Context(), "never"); err == nil {
		t.Error("a cluster without authorities is cared for")
	}
	must(t, a.end(t.Context()))
	if _, err := a.careFor(t.Context(), "late"); !errors.Is(err, errNotLeading) {
		t.Errorf("after the term: %v", err)
	}
	if len(a.beginning) > 0 {
		t.Errorf("still beginning: %v", a.beginning)
	}
	must(t, a.Stop(t.Context()))
}

// TestADamagedClusterStopsNobody: the daemon starts, and cares for the
// others; who asks for that one is told.
func TestADamagedClusterStopsNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := fleetOf(t, dir, 2)
	must(t, a.Start(t.Context()))
	_, _, err := a.store.PutSpec(t.Context(), cluster.Spec{Name: "c0001x"}, 0) // and no authorities
	must(t, err)
	must(t, createAuthority(t.Context(), a.store, "c0001y", time.Now().AddDate(-100, 0, 0))) // which has expired
	_, _, err = a.store.PutSpec(t.Context(), cluster.Spec{Name: "c0001y"}, 0)
	must(t, err)
	must(t, a.Stop(t.Context()))
	a = New(a.o)
	must(t, a.Start(t.Context()))
	if len(a.cares) != 2 || a.cares["c0000"] == nil || a.cares["c0001"] == nil {
		t.Errorf("cared for: %v", a.cares)
	}
	_, err = a.careFor(t.Context(), "c0001x")
	if !errors.Is(err, store.ErrNotFound) || !strings.Contains(hintOf(err), "--restore-state") {
		t.Errorf("the damaged one: %v, %q", err, hintOf(err))
	}
	list, err := backend{a}.Clusters(t.Context())
	if err != nil || len(list) != 4 || list[2].Name != "c0001x" || list[2].Healthy || list[3].Name != "c0001y" || list[3].Healthy {
		t.Errorf("the list is %+v, %v", list, err)
	}
	must(t, a.Stop(t.Context()))
}

// fleetOf is a daemon that has not started, with a store of so many clusters without
// nodes: there is nothing to do for them but what every cluster costs.
func fleetOf(t testing.TB, dir string, n int) *App {
	t.Helper()
	cfg := config.Daemon{
		DataDir: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "seal.key"), Socket: filepath.Join(dir, "s"),
		SSH: config.SSH{Identity: config.None, Agent: config.None},
	}.WithDefaults()
	a := New(Options{Config: cfg, Version: "v0", Log: slog.New(slog.DiscardHandler)})
	must(t, a.Start(t.Context()))
	for i := range n {
		name := fmt.Sprintf("c%04d", i)
		must(t, createAuthority(t.Context(), a.store, name, time.Now()))
		_, _, err := a.store.PutSpec(t.Context(), cluster.Spec{Name: name}, 0)
		must(t, err)
	}
	must(t, a.Stop(t.Context()))
	return New(Options{Config: cfg, Version: "v0", Log: slog.New(slog.DiscardHandler)})
}
