package drive

import (
	"testing"
	"time"
)

// TestForHowMuchOfATimeTheMachineStoodStill: for what of each standstill lies in it.
func TestForHowMuchOfATimeTheMachineStoodStill(t *testing.T) {
	t.Parallel()
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	s := &Lookout{still: []span{{at(1000), at(1500)}, {at(3000), at(6000)}}}
	for _, c := range []struct{ from, to, want int }{
		{0, 900, 0}, {0, 10000, 3500}, {1200, 4000, 1300}, {4000, 5000, 1000}, {1500, 3000, 0},
	} {
		if got := s.During(at(c.from), at(c.to)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("from %d to %d: %s, want %d ms", c.from, c.to, got, c.want)
		}
	}
	for since, want := range map[int]time.Duration{0: 3 * time.Second, 5999: 3 * time.Second, 6000: 0} {
		if got := s.Longest(at(since)); got != want {
			t.Errorf("the longest since %d: %s, want %s", since, got, want)
		}
	}
	told := 0
	s.Each(time.Second, func(from, to time.Time) {
		if told++; from != at(3000) || to != at(6000) {
			t.Errorf("of a second and more: from %s to %s", from, to)
		}
	})
	if told != 1 {
		t.Errorf("%d took a second and more", told)
	}
	if !s.Near(at(6500), at(7000)) || s.Near(at(8100), at(9000)) || s.Near(at(0), at(900)) {
		t.Error("what is near a standstill is what was under way then or in the two seconds after it")
	}
}
