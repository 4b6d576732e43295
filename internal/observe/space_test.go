package observe

import (
	"math"
	"testing"
	"time"

	"cke/internal/cluster"
)

func uses(bytes ...int64) cluster.EtcdState {
	e := cluster.EtcdState{Quorum: true}
	for _, b := range bytes {
		e.Members = append(e.Members, cluster.Member{Healthy: true, DBSizeInUse: b})
	}
	return e
}

// TestGrowthIsALineThroughWhatSwings: history comes and goes, the data grows by
// 1 MB an hour, and however long that is watched, little is kept.
func TestGrowthIsALineThroughWhatSwings(t *testing.T) {
	var s space
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 3 * 24 * 360 { // a look each 10 s
		now := begin.Add(time.Duration(i) * 10 * time.Second)
		data := 100e6 + 1e6*now.Sub(begin).Hours() + 500e3*math.Sin(float64(i)/7)
		s.note(uses(int64(data)+40e6, int64(data)), now)
		if g := s.growth(); i < 170 && g != nil {
			t.Fatalf("after %d looks there is a trend: %+v", i, g)
		}
		if len(s.samples) >= maxSamples {
			t.Fatalf("%d samples are kept", len(s.samples))
		}
	}
	g := s.growth()
	if g == nil || math.Abs(g.PerDay-24e6) > 1e6 {
		t.Errorf("growth %+v, want 24 MB a day", g)
	}
	s.note(cluster.EtcdState{}, begin.Add(1000*time.Hour))
	if now := s.growth(); now.Over != g.Over {
		t.Error("a look at nobody counts")
	}
}

func TestSinceWhenTheHistoryBegins(t *testing.T) {
	var s space
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(compacted int64) time.Time {
		now = now.Add(time.Second)
		e := uses(1)
		e.Alarms = []cluster.Alarm{{Kind: cluster.AlarmNoSpace}}
		e.Compaction = &cluster.Compaction{Revision: 100, Compacted: compacted}
		s.compaction(&e, now)
		return e.Compaction.Since
	}
	if at := look(5); !at.IsZero() {
		t.Errorf("first seen: since %s", at)
	}
	if at := look(90); !at.Equal(now) {
		t.Errorf("compacted now: since %s", at)
	}
	was := now
	if at := look(90); !at.Equal(was) {
		t.Errorf("a moment later: since %s, want %s", at, was)
	}
	s.usage, s.counted = []cluster.PrefixUsage{{Prefix: "/app/"}}, now
	if look(90); s.counted.IsZero() {
		t.Error("what was counted is forgotten in the midst of an alarm")
	}
	e := uses(1)
	s.compaction(&e, now)
	if s.usage != nil || !s.counted.IsZero() {
		t.Errorf("after the alarm what was counted is still %v, of %s", s.usage, s.counted)
	}
	if at := look(95); !at.IsZero() {
		t.Errorf("after the alarm: since %s", at)
	}
}
