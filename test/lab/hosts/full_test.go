package hosts

import (
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/lab"
)

// TestFullFileSystems: the data disk of one machine is full, then those of all. Each
// is told with mount and bytes; with room again the members are back by themselves,
// CKE changes nothing meanwhile, and no acknowledged write is lost.
func TestFullFileSystems(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3}, lab.DataDisk("1G"))
	w := e.tenant(true, 1, 2, 3)
	began := time.Now()
	w.Wrote(50)
	full := func(i int) func() { return e.lab.Break(t, lab.DiskFull(e.lab.Machine(i))) }
	told := func(n cluster.NodeName) {
		t.Helper()
		r := e.Reason("fileSystemIsFull", n)
		e.Says("the reason", r.Text, "the member's data is on "+lab.DataDir, "are free", "starts by itself")
	}

	heal := full(2)
	told("h2")
	w.Wrote(100)
	heal()
	e.OnlyMembersAre(e.names(1, 2, 3)...)

	var heals []func()
	for i := 1; i <= 3; i++ {
		heals = append(heals, full(i))
	}
	// Two end for lack of room; the third has nothing to write without a quorum.
	r := e.Reason("quorumIsLost", "")
	e.Says("the hint", r.Hint, "make room where there is none", "start by themselves")
	if s := e.Status(); len(s.Plan.Steps) > 0 {
		t.Errorf("steps with every disk full:\n%s", s.Plan)
	}
	for _, h := range heals {
		h()
	}
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	w.Wrote(50)
	w.Finish(200)
	t.Logf("full and empty again twice: %s", time.Since(began).Round(time.Second))
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner} {
		if n := e.CountSteps(k); n != 0 {
			t.Errorf("%d times %s", n, k)
		}
	}
}
