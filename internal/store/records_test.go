package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/record"
)

func testRecord(name, action string) record.Record {
	return record.Record{Cluster: name, Action: action, By: "uid 0", At: time.Unix(1700000000, 0).UTC(), Epoch: 1}
}

func add(t *testing.T, s *Store, name, action string) record.Record {
	t.Helper()
	r, err := s.Append(t.Context(), testRecord(name, action))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecords(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	if got, err := s.Records(ctx, "main", 10); err != nil || len(got) != 0 {
		t.Errorf("at first: %v, %v", got, err)
	}
	a, b := add(t, s, "main", "a"), add(t, s, "main", "b")
	if other := add(t, s, "other", "x"); a.Seq != 1 || b.Seq != 2 || other.Seq != 1 {
		t.Errorf("seqs %d, %d, %d", a.Seq, b.Seq, other.Seq)
	}
	b.Repeats = 3
	if err := s.Amend(ctx, b); err != nil {
		t.Fatal(err)
	}
	missing := b
	missing.Seq = 3
	if err := s.Amend(ctx, missing); !errors.Is(err, ErrNotFound) {
		t.Errorf("amend what is not there: %v", err)
	}
	for n, want := range map[int][]record.Record{-1: nil, 0: nil, 1: {b}, 2: {a, b}, 9: {a, b}} {
		got, err := s.Records(ctx, "main", n)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("newest ", n), got, want)
	}
}

func TestOnlyTheNewestThousandRecordsStay(t *testing.T) {
	s := open(t, testOptions(t))
	var wg sync.WaitGroup
	const writers, each = 2, 540
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := s.Append(t.Context(), testRecord("main", fmt.Sprintf("%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Records(t.Context(), "main", 5000)
	if err != nil || len(got) != keepRecords {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for i, r := range got {
		if want := int64(writers*each - keepRecords + 1 + i); r.Seq != want {
			t.Fatalf("record %d has seq %d, want %d", i, r.Seq, want)
		}
	}
	if err := s.Amend(t.Context(), record.Record{Cluster: "main", Seq: 5}); !errors.Is(err, ErrNotFound) {
		t.Errorf("amend a pruned one: %v", err)
	}
}

// next takes one value or fails.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func TestWatchRecords(t *testing.T) {
	s := open(t, testOptions(t))
	for _, a := range []string{"1", "2", "3"} {
		add(t, s, "main", a)
	}
	ch, err := s.WatchRecords(t.Context(), "main", 1)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "main", "4")
	add(t, s, "other", "not this")
	fifth := add(t, s, "main", "5")
	fifth.Repeats = 1
	if err := s.Amend(t.Context(), fifth); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2", "3", "4", "5"} {
		if got := next(t, ch); got.Action != want {
			t.Errorf("got %s, want %s", got.Action, want)
		}
	}
	if got := next(t, ch); got.Seq != fifth.Seq || got.Repeats != 1 {
		t.Errorf("amended: %+v", got)
	}
}

func TestWatchesEndWithTheirContextAndTheStore(t *testing.T) {
	s := open(t, testOptions(t))
	ctx, cancel := context.WithCancel(t.Context())
	names, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	records, err := s.WatchRecords(t.Context(), "main", 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	closed := func(what string, done func() bool) {
		t.Helper()
		eventually(t, what, done)
	}
	closed("the end of the first", func() bool {
		select {
		case _, open := <-names:
			return !open
		default:
			return false
		}
	})
	closeStore(t, s)
	if _, open := <-records; open {
		t.Error("a record came from a closed store")
	}
}

func TestWatchNamesWhatChanged(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	put(t, s, spec("old", 1))
	ch, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, name string, act func() error) {
		t.Helper()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := next(t, ch); got != name {
			t.Errorf("%s: got %q", what, got)
		}
	}
	expect("spec", "main", func() error { put(t, s, spec("main", 1, 2)); return nil })
	expect("bootstrap", "main", func() error {
		return s.AdvanceBootstrap(ctx, "main", "", cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: "t"})
	})
	expect("leaving", "main", func() error { put(t, s, spec("main", 1)); return nil })
	expect("forget", "main", func() error { return s.ForgetLeaving(ctx, "main", "cp2") })
	expect("pause", "main", func() error { return s.SetPause(ctx, "main", cluster.Pause{}) })
	expect("resume", "main", func() error { return s.ClearPause(ctx, "main") })
	// Records and authorities are nobody's business: the next name is the user's.
	add(t, s, "main", "x")
	if err := s.CreateCAs(ctx, "main", map[string]Authority{"server": {}}); err != nil {
		t.Fatal(err)
	}
	expect("user", "old", func() error {
		_, err := s.AddUser(ctx, "old", cluster.User{Name: "app", Prefix: "/app/"})
		return err
	})
}

func TestWatchCoalescesForASlowReceiver(t *testing.T) {
	s := open(t, testOptions(t))
	ch, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // nobody receives, nothing blocks
		put(t, s, spec("a", i%2+1))
		put(t, s, spec("b", i%2+1))
	}
	put(t, s, spec("last", 1))
	seen := map[string]int{}
	for name := ""; name != "last"; {
		name = next(t, ch)
		seen[name]++
	}
	if seen["a"] == 0 || seen["b"] == 0 || seen["a"]+seen["b"] > 10 {
		t.Errorf("got %v", seen)
	}
}

func TestWatchesSurviveCompaction(t *testing.T) {
	s := open(t, testOptions(t))
	put(t, s, spec("main", 1))
	add(t, s, "main", "1")
	rev := put(t, s, spec("main", 1, 2))
	w := nameWatch{store: s}
	if _, err := s.client.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if got := w.run(t.Context(), 1); got <= rev-1 || len(w.pending) != 1 || w.pending[0] != "main" {
		t.Errorf("goes on at %d with %v", got, w.pending)
	}
	out := make(chan record.Record, 1)
	rw := recordWatch{store: s, name: "main", out: out}
	if got := rw.run(t.Context(), 1); got <= rev-1 || len(out) != 1 || rw.last != 1 {
		t.Errorf("goes on at %d after %d with %d records", got, rw.last, len(out))
	}
}
