package reconcile

import "cke/internal/plan"

// maxRepeats is how often the same step may run in a row. More means that its
// Done and its rule disagree; that must not become a busy loop.
const maxRepeats = 5

// repetition counts how often each step was begun without the loop coming to
// rest and without a plan that could do without it.
type repetition map[string]int

// count adds one for the step and says whether that is too often.
func (r repetition) count(s plan.Step) bool {
	r[s.Key()]++
	return r[s.Key()] > maxRepeats
}

// forget drops a step whose last attempt failed: it was not done, and its next
// attempts are spaced out already.
func (r repetition) forget(s plan.Step) { delete(r, s.Key()) }

// forgetAllBut drops the steps that are not asked for any more.
func (r repetition) forgetAllBut(wanted map[string]bool) {
	for k := range r {
		if !wanted[k] {
			delete(r, k)
		}
	}
}
