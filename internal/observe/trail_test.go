package observe

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

// TestBefore: each look and each guard is told how far the log had come one
// election timeout ago, by when the members were asked.
func TestBefore(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := New(Options{Now: func() time.Time { return start }})
	look := func(at time.Duration, index uint64) cluster.EtcdState {
		return o.conclude(Wanted{}, cluster.EtcdState{Members: []cluster.Member{{ID: 1, Healthy: true, Leader: true, RaftTerm: 2, RaftIndex: index}}}, start.Add(at))
	}
	if e := look(0, 10); e.Before != nil {
		t.Errorf("the first look compares with %+v", e.Before)
	}
	if e := look(600*time.Millisecond, 20); e.Before == nil || e.Before.Index != 10 {
		t.Errorf("the second look compares with %+v", e.Before)
	}
	if e := look(1700*time.Millisecond, 30); e.Before == nil || e.Before.Index != 20 {
		t.Errorf("the third look compares with %+v", e.Before)
	}
}
