package cluster_test

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

// TestTrail: what is compared with is the last look before an election timeout ago,
// or the first of all where none is that old.
func TestTrail(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := start.Add
	for _, c := range []struct {
		name  string
		looks []time.Duration // the index is the place in the list
		now   time.Duration
		want  uint64
		none  bool
	}{
		{name: "never looked", now: time.Second, none: true},
		{name: "the last before an election timeout", looks: []time.Duration{0, 400 * time.Millisecond, 900 * time.Millisecond}, now: 1500 * time.Millisecond, want: 1},
		{name: "the first, where none is that old", looks: []time.Duration{0, 400 * time.Millisecond, 900 * time.Millisecond}, now: 950 * time.Millisecond, want: 0},
		{name: "the last, where looks are far apart", looks: []time.Duration{0, 2 * time.Second}, now: 4500 * time.Millisecond, want: 1},
		{name: "too old", looks: []time.Duration{0}, now: 6 * time.Second, none: true},
		{name: "close looks are one", looks: []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond}, now: 30 * time.Millisecond, want: 0},
		{name: "a look that ended later and began before", looks: []time.Duration{2 * time.Second, time.Second}, now: 3500 * time.Millisecond, want: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var trail cluster.Trail
			for i, d := range c.looks {
				trail = trail.With(cluster.Front{At: at(d), Term: 1, Index: uint64(i)})
			}
			got, ok := trail.Before(at(c.now))
			if ok == c.none || ok && got.Index != c.want {
				t.Errorf("compared with %+v (%v), want look %d", got, ok, c.want)
			}
		})
	}
}

// TestTrailStaysShort: looks every few milliseconds for a minute are a few dozen.
func TestTrailStaysShort(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var trail cluster.Trail
	for i := range 6000 {
		trail = trail.With(cluster.Front{At: start.Add(time.Duration(i) * 10 * time.Millisecond), Term: 1, Index: uint64(i)})
	}
	if len(trail) > 60 {
		t.Errorf("%d looks are kept", len(trail))
	}
	if got, ok := trail.Before(start.Add(time.Minute)); !ok || got.Index < 5890 {
		t.Errorf("compared with %+v (%v)", got, ok)
	}
}

// TestFront: the leader's index counts; without it, the highest of a serving voter.
func TestFront(t *testing.T) {
	t.Parallel()
	e := cluster.EtcdState{Members: []cluster.Member{
		{ID: 1, Healthy: true, Leader: true, RaftTerm: 3, RaftIndex: 100},
		{ID: 2, Healthy: true, RaftTerm: 3, RaftIndex: 98},
		{ID: 3, Healthy: true, RaftTerm: 3, RaftIndex: 101, Learner: true},
		{ID: 4, RaftTerm: 9, RaftIndex: 500},
	}}
	if f, ok := e.Front(time.Time{}); !ok || f.Index != 100 {
		t.Errorf("with a leader: %+v %v", f, ok)
	}
	e.Members[0].Healthy = false
	if f, ok := e.Front(time.Time{}); !ok || f.Index != 98 || f.Term != 3 {
		t.Errorf("without: %+v %v", f, ok)
	}
	e.Members[1].Healthy = false
	if f, ok := e.Front(time.Time{}); ok {
		t.Errorf("of nobody: %+v", f)
	}
}
