package observe

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

// To compare the data costs what there is of it: much is compared more rarely, and at
// once when another member serves.
func TestHashesHoldForLongerWhereTheyTakeLong(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := cluster.EtcdState{Members: []cluster.Member{{ID: 1, Healthy: true}, {ID: 2}}}
	back := cluster.EtcdState{Members: []cluster.Member{{ID: 1, Healthy: true}, {ID: 2, Healthy: true}}}
	for _, c := range []struct {
		took, ago time.Duration
		e         cluster.EtcdState
		want      bool
	}{
		{time.Millisecond, 9 * time.Second, all, true},
		{time.Millisecond, 11 * time.Second, all, false},
		{30 * time.Second, 11 * time.Second, all, true},
		{30 * time.Second, 299 * time.Second, all, true},
		{30 * time.Second, 301 * time.Second, all, false},
		{30 * time.Second, time.Second, back, false},
	} {
		h := hashed{at: now.Add(-c.ago), took: c.took, hashes: []cluster.MemberHash{{Member: 1}}, asked: map[cluster.MemberID]bool{1: true}}
		if got := h.holds(c.e, now); got != c.want {
			t.Errorf("took %s, %s ago: holds %v", c.took, c.ago, got)
		}
	}
}
