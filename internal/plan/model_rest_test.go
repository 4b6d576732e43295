package plan

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

// wheel is the reconcile loop: it looks, carries out the first step that is not
// held back, and looks again; when there is nothing to do it waits longer and
// longer.
type wheel struct {
	s        *sim
	failed   map[string]failure // by step
	patience time.Duration
	last     string
	times    int
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
	for _, step := range p.Steps {
		if s.now.Before(w.failed[step.Key()].next) {
			continue
		}
		s.logf("CKE: %s", step.Key())
		if err := (&hand{s: s, left: -1}).apply(step); err != nil {
			s.logf("  %v", err)
			wait := min(30*time.Second, max(time.Second, 2*w.failed[step.Key()].wait))
			w.failed[step.Key()] = failure{wait, s.now.Add(wait)}
			w.last = ""
		} else {
			delete(w.failed, step.Key())
			w.repeated(step, p)
		}
		w.patience = time.Second
		s.pass(100 * time.Millisecond)
		return p
	}
	w.last = ""
	s.pass(w.patience)
	w.patience = min(2*w.patience, 30*time.Second)
	return p
}

func (w *wheel) repeated(step Step, p Plan) {
	if step.Key() != w.last || w.inVain(step) {
		w.last, w.times = step.Key(), 0
	}
	if w.times++; w.times > maxRepeats {
		w.s.describe()
		w.s.t.Fatalf("a step is done %d times in a row and asked for again:\n%s", maxRepeats, p)
	}
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
	for range rounds {
		p := w.round()
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
