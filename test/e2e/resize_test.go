package e2e

import (
	"fmt"
	"slices"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// TestResizeUnderLoad walks 1→3→5→3→1 while a tenant writes: no acknowledged
// write is lost, quorum is never lost, each member that left has its data aside.
func TestResizeUnderLoad(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1)
	e.cli("etcd", "user-add", "app", "/app/")
	w := e.startWriter(1, 2, 3, 4, 5)
	for _, nodes := range [][]int{{1, 2, 3}, {1, 2, 3, 4, 5}, {1, 2, 3}, {1}} {
		w.wrote(50)
		e.set(nodes...)
		e.onlyMembersAre(nodes...)
	}
	w.wrote(50)
	w.finish(300)
	for i := 2; i <= 5; i++ {
		e.dataIsAside(fmt.Sprintf("cp%d", i))
	}
	e.neverBelowQuorum()
}

// TestReplaceAllUnderLoad swaps all three nodes for others by one edit.
func TestReplaceAllUnderLoad(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.cli("etcd", "user-add", "app", "/app/")
	w := e.startWriter(1, 2, 3, 4, 5, 6)
	w.wrote(50)
	e.set(4, 5, 6)
	e.onlyMembersAre(4, 5, 6)
	w.wrote(50)
	w.finish(150)
	for i := 1; i <= 3; i++ {
		e.dataIsAside(fmt.Sprintf("cp%d", i))
	}
	e.neverBelowQuorum()
	moves := e.countSteps(plan.MoveLeader)
	if moves != 1 {
		t.Errorf("leadership was moved %d times by CKE, want 1: straight to a member that stays", moves)
	}
}

// onlyMembersAre checks that exactly these nodes carry started voters.
func (e *env) onlyMembersAre(nodes ...int) {
	e.t.Helper()
	var got []cluster.NodeName
	for _, n := range e.settled().Nodes {
		if n.Member == nil {
			continue
		}
		if n.Member.Learner || !n.Member.Started() || !n.Member.Healthy {
			e.t.Errorf("member on %s: %+v", n.Hostname, *n.Member)
		}
		got = append(got, n.Hostname)
	}
	var want []cluster.NodeName
	for _, i := range nodes {
		want = append(want, cluster.NodeName(fmt.Sprintf("cp%d", i)))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.t.Errorf("members on %v, want %v", got, want)
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

// neverBelowQuorum checks the tolerance CKE itself foresaw for every step.
func (e *env) neverBelowQuorum() {
	e.t.Helper()
	for _, r := range e.history() {
		if r.Step != nil && r.Step.Tolerance != nil && r.Step.Tolerance.During < 0 {
			e.t.Errorf("a step below quorum: %s", r)
		}
	}
}

func (e *env) countSteps(k plan.Kind) int {
	e.t.Helper()
	n := 0
	for _, r := range e.history() {
		if r.Step != nil && r.Step.Kind == k && r.Error == "" {
			n++
		}
	}
	return n
}
