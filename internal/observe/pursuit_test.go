package observe

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

func TestPursuit(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	o := &Observer{}
	for i, c := range []struct {
		applied, front uint64
		silent         bool
		since          time.Time
	}{
		{0, 1000, true, time.Time{}}, // it has not been heard yet
		{0, 1000, false, at(1)},
		{50, 1000, false, at(1)}, // that is not much nearer
		{200, 1000, false, at(3)},
		{1000, 2000, false, at(3)}, // it only keeps up
		{0, 2000, true, at(3)},     // nor does silence bring it nearer
		{1500, 2000, false, at(6)},
		{2000, 2000, false, at(7)},
		{2500, 2500, false, at(7)}, // nearer it cannot come
	} {
		e := cluster.EtcdState{Quorum: true, Members: []cluster.Member{
			{ID: 1, Healthy: true, Leader: true, RaftTerm: 2, RaftIndex: c.front, RaftApplied: c.front},
			{ID: 2, Learner: true, Healthy: !c.silent, RaftTerm: 2, RaftApplied: c.applied},
		}}
		o.pursue(&e, at(i))
		if got := e.Members[1].BehindSince; !got.Equal(c.since) || !e.Members[0].BehindSince.IsZero() {
			t.Errorf("%d: no nearer since %s, want %s", i, got, c.since)
		}
	}
	e := cluster.EtcdState{Quorum: true, Members: []cluster.Member{{ID: 2, Healthy: true, RaftTerm: 2}}}
	if o.pursue(&e, at(20)); len(o.pursuits) > 0 || !e.Members[0].BehindSince.IsZero() {
		t.Errorf("it votes, and is remembered as %v", o.pursuits)
	}
}
