package reconcile

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// last is the newest record, if it is of that kind of step. The caller holds the lock.
func (w *world) last(k plan.Kind) (record.Record, bool) {
	if len(w.records) == 0 {
		return record.Record{}, false
	}
	r := w.records[len(w.records)-1]
	return r, r.Step != nil && r.Step.Kind == k
}

// What a look asks of every machine would hold the members up in the moment in which
// they lose writes. So none is begun before leadership has moved, though any other step
// is looked past sooner.
func TestNothingIsLookedAtWhileLeadershipMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		w.changing = 2 * stepPatience
		l, end := w.begin(t)
		defer end()
		settle(t, w, l)
		w.do(func() { w.wanted.Drains = []cluster.Drain{{Node: "n0", By: "ada", At: time.Now()}} })
		l.Wake()
		before, asked := 0, 0
		w.until(t, time.Minute, "begin to move leadership", func() bool {
			before, asked = w.loads, w.hosts["n2"].calls["facts"]
			return w.under == 1
		})
		if r, moves := w.last(plan.MoveLeader); !moves || r.Outcome != record.Started {
			t.Fatalf("under way is %+v", r)
		}
		l.Wake()                  // a change of the spec, or a member that ceases to serve, does not hurry it
		looked, questions := 0, 0 // when it was still under way
		w.until(t, time.Minute, "move leadership", func() bool {
			if w.under == 1 {
				looked, questions = w.loads-before, w.hosts["n2"].calls["facts"]-asked
			}
			return w.leader != 0
		})
		if looked != 0 || questions != 0 {
			t.Errorf("the loop looked %d times meanwhile, and asked a host %d times", looked, questions)
		}
		w.until(t, stepPatience, "look again at once", func() bool { return w.loads > before })
	})
}

// A move that hangs holds the care for all else up for a moment only.
func TestAMoveThatHangsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		w.changing = time.Minute
		l, end := w.begin(t)
		defer end()
		settle(t, w, l)
		w.do(func() { w.wanted.Drains = []cluster.Drain{{Node: "n0", By: "ada", At: time.Now()}} })
		l.Wake()
		var other *fakeHost
		w.until(t, time.Minute, "begin to move leadership", func() bool {
			r, moves := w.last(plan.MoveLeader)
			if other = w.hosts["n1"]; moves && slices.Contains(r.Step.Nodes, "n1") {
				other = w.hosts["n2"]
			}
			return moves && w.under == 1
		})
		w.do(func() { other.running(false) })
		w.until(t, 10*time.Second, "start another member meanwhile", func() bool { return other.facts.Unit.Running && w.under == 1 })
	})
}
