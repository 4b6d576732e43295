package cluster_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"cke/internal/cluster"
)

// TestSetbacks: a node whose member was taken out because it did not serve is
// remembered until a member of it votes again.
func TestSetbacks(t *testing.T) {
	t.Parallel()
	const replaceAfter = 5 * time.Minute
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := cluster.Node{Hostname: "cp4", Address: netip.MustParseAddr("10.0.0.4")}
	nodes := []cluster.Node{n}
	dead := func(id cluster.MemberID, learner bool) []cluster.Member {
		return []cluster.Member{{ID: id, PeerURL: n.PeerURL(), Learner: learner, UnhealthySince: start.Add(-replaceAfter)}}
	}
	var s cluster.Setbacks
	s = s.After(dead(1, true), nil, nodes, replaceAfter, start)
	if want := (cluster.Setbacks{"cp4": {Learners: 1, Last: start}}); !reflect.DeepEqual(s, want) {
		t.Fatalf("after a learner that never came: %v", s)
	}
	second := s.After(dead(2, true), nil, nodes, replaceAfter, start.Add(time.Minute))
	if got := second["cp4"]; got.Learners != 2 || s["cp4"].Learners != 1 {
		t.Errorf("after the second: %v, and what was before is now %v", second, s)
	}
	if got := second["cp4"].Again(replaceAfter); !got.Equal(start.Add(11 * time.Minute)) {
		t.Errorf("tried again at %s", got)
	}
	if got := (cluster.Setback{Learners: 50, Last: start}).Again(replaceAfter); !got.Equal(start.Add(time.Hour)) {
		t.Errorf("after many tried again at %s", got)
	}
	stuck := []cluster.Member{{ID: 9, PeerURL: n.PeerURL(), Learner: true, Healthy: true, BehindSince: start.Add(-replaceAfter)}}
	if got := s.After(stuck, nil, nodes, replaceAfter, start)["cp4"]; got.Learners != 2 {
		t.Errorf("one that served and came no nearer counts as %v", got)
	}
	died := s.After(dead(3, false), nil, nodes, replaceAfter, start)
	if got := died["cp4"]; got.Learners != 1 {
		t.Errorf("a voter that died counts as %v", got)
	}
	for name, after := range map[string]cluster.Setbacks{
		"it votes":              s.After(nil, []cluster.Member{{ID: 5, PeerURL: n.PeerURL(), Healthy: true}}, nodes, replaceAfter, start),
		"its node is gone":      s.After(nil, nil, nil, replaceAfter, start),
		"it is long ago":        s.After(nil, nil, nodes, replaceAfter, start.Add(3*time.Hour)),
		"one that served left":  cluster.Setbacks{}.After([]cluster.Member{{ID: 6, PeerURL: n.PeerURL(), Healthy: true}}, nil, nodes, replaceAfter, start),
		"one that is still in":  cluster.Setbacks{}.After(dead(7, false), dead(7, false), nodes, replaceAfter, start),
		"it was silent shortly": cluster.Setbacks{}.After(dead(8, true), nil, nodes, replaceAfter+time.Second, start),
	} {
		if len(after) > 0 {
			t.Errorf("%s, and there is %v", name, after)
		}
	}
}
