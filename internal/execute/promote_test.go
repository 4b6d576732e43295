package execute

import (
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// A learner that serves nobody yet votes on its host's word, which is asked for again
// right before. Nobody waits for the learner itself.
func TestALearnerIsPromotedByWhatItsHostSays(t *testing.T) {
	for name, c := range map[string]struct {
		applied, logged uint64
		voters          []int // of cp1 and cp3
		fails           string
	}{
		"it has applied all":                     {100, 100, []int{0, 2}, ""},
		"its log is there":                       {0, 100, []int{0, 2}, ""},
		"its log is not there yet":               {0, 99, []int{0, 2}, "has not caught up"},
		"nothing is known":                       {0, 0, []int{0, 2}, "has not caught up"},
		"its log is there, and one more counts":  {0, 100, []int{0}, "has not caught up"},
		"it has applied it, and one more counts": {100, 100, []int{0}, ""},
	} {
		three := newThree(t)
		unit := cluster.Unit{Cluster: "main", Node: "cp2", Member: 2, Version: "3.7.3"}
		three.on = cluster.UnitState{Unit: unit, Running: true, Started: &unit, Sealed: true, Applied: c.applied, Logged: c.logged}
		all := three.e.Members
		all[1].Learner, all[1].Healthy, all[1].RaftApplied = true, false, 0
		three.e.Members = []cluster.Member{all[1]}
		for _, i := range c.voters {
			three.e.Members = append(three.e.Members, all[i])
		}
		err := three.run(t.Context(), plan.Step{Kind: plan.PromoteLearner, Nodes: []cluster.NodeName{"cp2"}, Member: 2, ByHost: true})
		did := slices.Equal(three.did, []Effect{EtcdPromote})
		if (err == nil) != (c.fails == "") || did != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v, did %v; want %q", name, err, three.did, c.fails)
		}
		if three.anew > 0 {
			t.Errorf("%s: the learner is waited for", name)
		}
	}
}
