package e2e

import (
	"fmt"
	"testing"

	"cke/internal/plan"
)

// TestResizeUnderLoad walks 1→3→5→3→1 while a tenant writes: no acknowledged
// write is lost, quorum is never lost, each member that left has its data aside.
func TestResizeUnderLoad(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3, 4, 5)
	for _, nodes := range [][]int{{1, 2, 3}, {1, 2, 3, 4, 5}, {1, 2, 3}, {1}} {
		w.Wrote(50)
		e.set(nodes...)
		e.onlyMembersAre(nodes...)
	}
	w.Wrote(50)
	w.Finish(300)
	for i := 2; i <= 5; i++ {
		e.dataIsAside(fmt.Sprintf("cp%d", i))
	}
	e.NeverBelowQuorum()
}

// TestReplaceAllUnderLoad swaps all three nodes for others by one edit.
func TestReplaceAllUnderLoad(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	look := e.LookOut()
	e.Start()
	e.Set(e.withSettings(steady, 1, 2, 3))
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3, 4, 5, 6)
	w.Wrote(50)
	e.Set(e.withSettings(steady, 4, 5, 6))
	e.onlyMembersAre(4, 5, 6)
	w.Wrote(50)
	w.Finish(150)
	for i := 1; i <= 3; i++ {
		e.dataIsAside(fmt.Sprintf("cp%d", i))
	}
	e.NeverBelowQuorum()
	moves := e.CountSteps(plan.MoveLeader)
	if moves != 1 && !look.StoodStill(stoodStill) {
		t.Errorf("leadership was moved %d times by CKE, want 1: straight to a member that stays", moves)
	}
}

// dataIsAside checks that a node that left kept its data, in another place.
func (e *env) dataIsAside(node string) {
	e.t.Helper()
	inPlace, aside := e.dataDirs(node)
	if len(inPlace) != 0 || len(aside) == 0 {
		e.t.Errorf("%s: data in place %v, aside %v; want none and at least one", node, inPlace, aside)
	}
}
