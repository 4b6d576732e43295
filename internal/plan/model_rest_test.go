package plan

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

// wheel is the reconcile loop: it looks, carries out the batch of steps that are
// not held back, and looks again; when there is nothing to do it waits longer and
// longer.
type wheel struct {
	s        *sim
	failed   map[string]failure // by step
	patience time.Duration
	done     map[string]int // how often in a row, by step
}

type failure struct {
	wait time.Duration
	next time.Time
}

// maxRepeats is how often the loop itself lets one step run in a row.
const maxRepeats = 5

func newWheel(s *sim) *wheel {
	return &wheel{s: s, failed: map[string]failure{}, patience: time.Second}
}

// round is one turn. It returns the plan it acted on.
func (w *wheel) round() Plan {
	s := w.s
	p := s.look()
	var runnable []Step
	for _, step := range p.Steps {
		if !s.now.Before(w.failed[step.Key()].next) {
			runnable = append(runnable, step)
		}
	}
	done := map[string]int{}
	for _, step := range NextBatch(runnable) {
		s.logf("CKE: %s", step.Key())
		if err := (&hand{s: s, left: -1}).apply(step); err != nil {
			s.logf("  %v", err)
			wait := min(30*time.Second, max(time.Second, 2*w.failed[step.Key()].wait))
			w.failed[step.Key()] = failure{wait, s.now.Add(wait)}
			continue
		}
		delete(w.failed, step.Key())
		if !w.inVain(step) {
			done[step.Key()] = w.done[step.Key()] + 1
		}
		if done[step.Key()] > maxRepeats {
			s.describe()
			s.t.Fatalf("%s is done %d times in a row and asked for again:\n%s", step.Key(), maxRepeats, p)
		}
	}
	w.done = done
	if len(runnable) > 0 {
		w.patience = time.Second
		s.pass(100 * time.Millisecond)
		return p
	}
	s.pass(w.patience)
	w.patience = min(2*w.patience, 30*time.Second)
	return p
}

// inVain: while CKE sees no quorum it cannot know that a member was removed, and
// starts it over and over; peers make it end each time.
func (w *wheel) inVain(step Step) bool {
	return step.Kind == StartMembers && slices.ContainsFunc(step.Nodes, func(n cluster.NodeName) bool {
		_, removed := w.s.raft.removed[w.s.hosts[n].unit.Member]
		return removed
	})
}

// rest lets CKE work undisturbed. It must come to rest with everything as
// wanted; when too much data is gone, blocked; and when a quorum lives on in
// memory only, either.
func (s *sim) rest() {
	w := newWheel(s)
	lost, doomed := s.lostForGood(), s.doomed()
	const rounds = 300
	blocked := 0
	for i := range rounds {
		p := w.round()
		// What was stuck when the faults ended is through after a few rounds.
		if i > 5 && slices.ContainsFunc(p.Reasons, func(r Reason) bool { return r.Rule == "endpointCouldNotBeWithdrawn" }) {
			s.describe()
			s.t.Fatalf("nothing is broken, and an endpoint is not withdrawn in time:\n%s", p)
		}
		if p.Settled() {
			why := s.misplaced()
			if lost {
				why = "the data is lost for good"
			}
			if why != "" {
				s.describe()
				s.t.Fatalf("nothing to do, but %s", why)
			}
			return
		}
		// Settings are blamed for what somebody else did to the member meanwhile; a
		// person sets others.
		if slices.ContainsFunc(p.Reasons, func(r Reason) bool { return r.Rule == "settingsFailed" }) && len(p.Steps) == 0 {
			s.store.spec.Etcd.Quota++
		}
		// A reboot that was asked for while there were more voters is given up.
		if r := s.store.reboot; r != nil && !r.Interrupt && len(p.Steps) == 0 && p.Has(Blocked) && len(s.raft.agreed.voters()) <= 2 {
			s.cancelReboot()
		}
		// The loop shows a step that is done in vain as blocked.
		if blocked++; !p.Has(Blocked) && !slices.ContainsFunc(p.Steps, w.inVain) {
			blocked = 0
		}
		if (lost || doomed) && blocked > 20 {
			return
		}
	}
	s.describe()
	s.t.Fatalf("no rest after %d rounds (lost for good: %v, doomed: %v); the plan is\n%s", rounds, lost, doomed, s.look())
}
