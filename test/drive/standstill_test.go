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

// TestARunThatIsMostlyExcusedSaysNothing, however much of it went well.
func TestARunThatIsMostlyExcusedSaysNothing(t *testing.T) {
	t.Parallel()
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct {
		still []span
		want  bool
	}{
		"never":                {nil, false},
		"twice":                {[]span{{at(1000), at(1500)}, {at(5000), at(5500)}}, false},
		"three times":          {[]span{{at(1000), at(1500)}, {at(4000), at(4500)}, {at(7000), at(7500)}}, true},
		"three times in a row": {[]span{{at(1000), at(1500)}, {at(1500), at(2000)}, {at(2000), at(2500)}}, false},
		"at both ends":         {[]span{{at(-900), at(10)}, {at(9000), at(9900)}}, false},
		"once, and for long":   {[]span{{at(1000), at(5000)}}, true},
		"when it was over":     {[]span{{at(10001), at(20000)}}, false},
	} {
		if got := mostlyStill(c.still, at(0), at(10000)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestALookoutSeesNoMoreThanWasThere: no machine stands still for an hour in a test, and
// who has asked once is told the same again.
func TestALookoutSeesNoMoreThanWasThere(t *testing.T) {
	t.Parallel()
	in := &Installation{T: t, Dir: t.TempDir()}
	l := in.LookOut()
	for range 2 {
		if l.StoodStill(time.Hour) {
			t.Error("the machine stood still for an hour")
		}
	}
	l.still = append(l.still, span{time.Unix(0, 0), time.Unix(2*3600, 0)})
	if !l.StoodStill(2*time.Hour) || l.StoodStill(3*time.Hour) {
		t.Error("two hours are taken for more or less")
	}
}
