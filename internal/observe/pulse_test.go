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
