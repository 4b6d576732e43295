package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// threeOf is a cluster.yml that wants three voters on these nodes and takes one
// for dead after some seconds: no fewer than a learner may need to serve that came by a
// snapshot, on a busy machine.
func (e *env) threeOf(nodes ...int) string {
	return strings.Replace(e.clusterYAML(nodes...), "etcd: {", "etcd: {members: 3, replace_after: 20s, ", 1)
}

// freeze stops a member's process where it is, as a machine that hangs does.
func (e *env) freeze(node string) (thaw func()) {
	e.t.Helper()
	pid, ok := e.members()[node]
	if !ok {
		e.t.Fatalf("no member runs on %s", node)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		e.t.Fatal(err)
	}
	return func() {
		e.t.Helper()
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			e.t.Fatal(err)
		}
	}
}

// TestDeadMemberIsReplacedByASpare: a member that does not serve any more gives
// its seat to the spare without a person; its own machine is a spare then.
func TestDeadMemberIsReplacedByASpare(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.Set(e.threeOf(1, 2, 3, 4))
	e.onlyMembersAre(1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3, 4)
	w.Wrote(50)
	dead := e.MemberID("cp2")
	e.freeze("cp2")
	e.Until("the spare has the seat", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Hostname == "cp4" && n.Member != nil && !n.Member.Learner && n.Member.Healthy && s.Settled {
				return nil
			}
		}
		return errors.New("cp4 does not vote")
	})
	e.onlyMembersAre(1, 3, 4)
	e.dataIsAside("cp2")
	w.Wrote(50)
	w.Finish(100)
	removed := 0
	for _, r := range e.History() {
		if s := r.Step; s != nil && s.Kind == plan.RemoveMember && r.Error == "" { // etcd may refuse it at first
			removed++
			if s.Member != dead || !s.NotServing {
				t.Errorf("removed was %+v", s)
			}
		}
	}
	if removed != 1 {
		t.Errorf("%d members were removed", removed)
	}
	e.NeverBelowQuorum()
	// The other way round: the machine that is a spare now has the next seat.
	e.freeze("cp4")
	e.Until("the former machine has the seat", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Hostname == "cp2" && n.Member != nil && !n.Member.Learner && s.Settled {
				return nil
			}
		}
		return errors.New("cp2 does not vote")
	})
	e.onlyMembersAre(1, 2, 3)
}

// TestNoSpare: without a spare a dead member keeps its seat, the reason is told,
// and it is the same member that serves again.
func TestNoSpare(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.Set(e.threeOf(1, 2, 3))
	before := e.MemberID("cp3")
	thaw := e.freeze("cp3")
	r := e.Reason("noSpareCanReplaceIt", "cp3")
	if !strings.Contains(r.Text, "there is none") {
		t.Errorf("the reason is %s", r)
	}
	e.CLI("etcd", "user-add", "app", "/app/") // the others serve
	thaw()
	e.Settled()
	if after := e.MemberID("cp3"); after != before {
		t.Errorf("cp3 is member %s, was %s", after, before)
	}
	if n := e.CountSteps(plan.RemoveMember); n != 0 {
		t.Errorf("%d members were removed", n)
	}
}

// TestLearnerThatNeverStarts: one that does not come is taken out again, and the
// seat goes to another node; the one that failed is given time, and that is shown.
func TestLearnerThatNeverStarts(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2)
	e.Kill()
	e.StartWith([]string{"CKE_EFFECT_KILL=start-members host.start-unit"})           // or it might vote before it hangs
	e.Run("ckecli", "cluster", "set", e.Write("cluster.yml", e.threeOf(1, 2, 3, 4))) // the daemon may die before it answers
	select {
	case <-e.Ended():
	case <-time.After(drive.Patience):
		t.Fatal("no learner is started")
	}
	first, other := "cp3", "cp4"
	if _, runs := e.members()[other]; runs {
		first, other = other, first
	}
	e.freeze(first)
	e.Kill() // collects it
	e.Start()
	e.Reason("learnersNeverCame", cluster.NodeName(first))
	e.OnlyMembersAre("cp1", "cp2", cluster.NodeName(other))
	e.dataIsAside(first)
	if n := e.CountSteps(plan.AddLearner); n != 2 {
		t.Errorf("%d learners were added, want 2", n)
	}
}
