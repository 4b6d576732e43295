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
