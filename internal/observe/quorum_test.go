package observe

import (
	"testing"
	"time"
)

// Members are given time anew after there was no quorum, but not after each election.
func TestSinceWhenThereIsAQuorumAgain(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var q quorum
	for _, look := range []struct {
		at   time.Duration
		is   bool
		want time.Duration // negative: never
	}{
		{0, true, -1},
		{10 * time.Second, false, -1},
		{12 * time.Second, true, -1}, // an election
		{20 * time.Second, false, -1},
		{25 * time.Second, false, -1},
		{10 * time.Minute, true, 10 * time.Minute},
		{11 * time.Minute, true, 10 * time.Minute},
		{12 * time.Minute, false, 10 * time.Minute},
		{12*time.Minute + time.Second, true, 10 * time.Minute},
	} {
		var want time.Time
		if look.want >= 0 {
			want = start.Add(look.want)
		}
		if got := q.seen(look.is, start.Add(look.at)); !got.Equal(want) {
			t.Errorf("after %s: since %s, want %s", look.at, got, want)
		}
	}
}
