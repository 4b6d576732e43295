package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestStall(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	y := tally{acked: []time.Time{at(900), at(0), at(10), at(400), at(410)}} // as they came, in no order
	for _, c := range []struct {
		from, to int
		want     time.Duration
	}{
		{0, 1000, 490 * time.Millisecond},  // all of it
		{-50, 300, 390 * time.Millisecond}, // one that only begins within counts
		{500, 600, 490 * time.Millisecond}, // so does one that is longer than the span
		{402, 408, 10 * time.Millisecond},
		{2000, 3000, 0},
	} {
		if got := y.stall(at(c.from), at(c.to)); got != c.want {
			t.Errorf("from %d to %d: %s, want %s", c.from, c.to, got, c.want)
		}
	}
	if got := y.longest(); got != 490*time.Millisecond {
		t.Errorf("the longest is %s", got)
	}
}

func TestErrorsAreCounted(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	y := tally{failed: []failure{
		{start.Add(time.Second), errors.New("proposal dropped")},
		{start.Add(2 * time.Second), context.DeadlineExceeded},
		{start.Add(3 * time.Second), errors.New("proposal dropped")},
	}}
	const want = "2 times from +1000 ms: proposal dropped; 1 times from +2000 ms: no answer in time"
	if got := y.errors(start); got != want {
		t.Errorf("got %q", got)
	}
}

func TestPlacesAreSwapped(t *testing.T) {
	t.Parallel()
	p := places{carry: []int{1, 2, 3}, spare: 4}
	p.swap(2)
	if len(p.carry) != 3 || p.carry[0] != 1 || p.carry[1] != 3 || p.newest() != 4 || p.spare != 2 {
		t.Errorf("got %+v", p)
	}
}

func TestFleetAddressesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 5000 {
		for i := range 3 {
			a := fleetAddress(n, i)
			if seen[a.String()] || !a.IsLoopback() {
				t.Fatalf("member %d of cluster %d is at %s", i, n, a)
			}
			seen[a.String()] = true
		}
	}
}
