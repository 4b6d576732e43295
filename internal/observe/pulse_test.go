package observe

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

func TestPulse(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	unit := func(id cluster.MemberID, running bool, exit string) *cluster.UnitState {
		return &cluster.UnitState{Unit: cluster.Unit{Member: id}, Running: running, Exit: exit}
	}
	var p pulse
	for i, c := range []struct {
		u           *cluster.UnitState
		runs, ended time.Time
	}{
		{nil, time.Time{}, time.Time{}},
		{unit(1, false, ""), time.Time{}, time.Time{}},
		{unit(1, false, "it was about to be started"), time.Time{}, time.Time{}},
		{unit(1, true, ""), at(3), time.Time{}},
		{unit(1, true, ""), at(3), time.Time{}},
		{unit(1, false, "exit status 2"), time.Time{}, at(5)},
		{unit(1, true, ""), at(6), at(5)},
		{unit(1, false, "signal: killed"), time.Time{}, at(7)},
		{unit(1, false, "ended unseen"), time.Time{}, at(8)},
		{unit(2, true, ""), at(9), time.Time{}},
		{nil, time.Time{}, time.Time{}},
	} {
		if p.note(c.u, at(i)); !p.runs.Equal(c.runs) || !p.ended.Equal(c.ended) {
			t.Errorf("%d: %+v, want %+v", i, p, c)
		}
	}
}

// What a process has said counts as said to this daemon only when it was begun after
// the first look: the peers it was begun beside are those that are known.
func TestAProcessThatWasBegunAfterTheFirstLook(t *testing.T) {
	type seen struct {
		running  bool
		restarts int
		anew     bool
	}
	for name, all := range map[string][]seen{
		"it had ended":              {{false, 4, false}, {false, 4, false}, {true, 5, false}, {false, 5, true}, {true, 6, true}},
		"it ran":                    {{true, 4, false}, {false, 4, false}, {true, 5, false}, {false, 5, true}},
		"others were not seen":      {{true, 4, false}, {true, 6, true}},
		"counted anew, and it runs": {{false, 4, false}, {true, 0, false}, {false, 0, false}, {true, 1, false}, {false, 1, true}},
	} {
		var p pulse
		for i, c := range all {
			u := cluster.UnitState{Unit: cluster.Unit{Member: 1}, Running: c.running, Restarts: c.restarts}
			if !c.running {
				u.Exit = "exit status 1"
			}
			if p.note(&u, time.Unix(int64(i), 0)); p.anew() != c.anew {
				t.Errorf("%s, %d: %v, want %v", name, i, p.anew(), c.anew)
			}
		}
	}
}

// What has ended before a member served for long is not held against it any more. One
// that is started again between two looks does not run on.
func TestWhoServedForLongBeginsAnew(t *testing.T) {
	type seen struct {
		after    time.Duration // the look before
		running  bool
		restarts int
		serves   bool
		before   int
	}
	const long, short = servesForLong, servesForLong - time.Second
	for name, all := range map[string][]seen{
		"it serves for long":              {{0, true, 4, true, 0}, {long, true, 4, true, 4}, {time.Second, false, 4, false, 4}, {time.Second, true, 5, false, 4}},
		"not for long":                    {{0, true, 4, true, 0}, {short, true, 4, true, 0}},
		"it runs, and does not serve":     {{0, true, 4, false, 0}, {long, true, 4, false, 0}},
		"another process, seen by nobody": {{0, true, 4, true, 0}, {short, true, 5, true, 0}, {short, true, 5, true, 0}, {time.Second, true, 5, true, 5}},
		"another process, seen":           {{0, true, 4, true, 0}, {short, false, 4, false, 0}, {0, true, 5, true, 0}, {short, true, 5, true, 0}, {time.Second, true, 5, true, 5}},
		"they are counted anew":           {{0, true, 4, true, 0}, {long, true, 4, true, 4}, {time.Second, true, 0, true, 0}, {long, false, 0, false, 0}},
	} {
		var p pulse
		at := time.Unix(0, 0)
		for i, c := range all {
			at = at.Add(c.after)
			u := cluster.UnitState{Unit: cluster.Unit{Member: 1}, Running: c.running, Restarts: c.restarts}
			if !c.running {
				u.Exit = "exit status 1"
			}
			p.note(&u, at)
			if c.serves {
				p.serves(at)
			}
			if p.before != c.before {
				t.Errorf("%s, %d: %d, want %d", name, i, p.before, c.before)
			}
		}
	}
}
