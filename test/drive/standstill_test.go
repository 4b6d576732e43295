package drive

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestWhatAStandstillExcuses: what was under way when the machine stood still or right
// after it, and came late; never what was refused.
func TestWhatAStandstillExcuses(t *testing.T) {
	t.Parallel()
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	still := []span{{at(5000), at(5400)}}
	for name, c := range map[string]struct {
		asked asked
		want  bool
	}{
		"late, over it":            {asked{began: at(4900), end: at(6000)}, true},
		"late, of those behind it": {asked{began: at(7300), end: at(8400)}, true},
		"not in its time":          {asked{began: at(4900), end: at(6900), err: context.DeadlineExceeded}, true},
		"late, long before":        {asked{began: at(3000), end: at(4999)}, false},
		"late, long after":         {asked{began: at(7401), end: at(9000)}, false},
		"refused":                  {asked{began: at(5100), end: at(5200), err: errors.New("no leader")}, false},
	} {
		if got := c.asked.waitedOut(still); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if late := (asked{began: at(0), end: at(9000)}); late.waitedOut(nil) {
		t.Error("without a standstill one is excused")
	}
}
