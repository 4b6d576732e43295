package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// failures are the histories that violate one rule.
type failures struct {
	seeds []uint64 // some of them
	count int
	first history // the one with the lowest seed
	out   outcome // what became of that
}

// seedsShown is how many seeds are told.
const seedsShown = 10

func (f failures) with(seed uint64, out outcome) failures {
	if f.count++; len(f.seeds) < seedsShown {
		f.seeds = append(f.seeds, seed)
	}
	if f.count == 1 || seed < f.first.seed {
		f.first, f.out = draw(seed), out
	}
	return f
}

// String says all that is needed to play a failure again.
func (f failures) String() string {
	return fmt.Sprintf("%s: %d histories, such as %v; %s", f.out.rule(), f.count, f.seeds, f.out.line(f.first))
}

func (o outcome) line(h history) string {
	world, _, _ := strings.Cut(h.String(), "\n")
	if !o.failed() {
		return fmt.Sprintf("-sim.seed %d does not fail (%s)", h.seed, world)
	}
	return fmt.Sprintf("-sim.seed %d fails at %s (%s)", h.seed, o.violations[0], world)
}

// failures are those of each rule.
func (a *tally) failures() (all []failures) {
	for _, rule := range slices.Sorted(maps.Keys(a.failed)) {
		all = append(all, a.failed[rule])
	}
	return all
}

// report tells of the failures, first of all in a line each.
func (a *tally) report(t *testing.T, o options, authority *Authority) {
	t.Helper()
	for _, f := range a.failures() {
		t.Error(f)
	}
	for _, f := range a.failures() {
		tell(t, f.first, f.out)
		if o.stop {
			continue
		}
		h := shrink(t, f.first, f.out.rule(), authority)
		out := play(t, h, authority)
		t.Log("made as short as it can be:")
		tell(t, h, out)
		if o.save {
			save(t, h, fmt.Sprintf("%s-%d", f.out.rule(), h.seed), out)
		}
	}
}

// tell writes down a history and all that came of it.
func tell(t *testing.T, h history, out outcome) {
	t.Helper()
	t.Logf("the history\n%s", h)
	for _, l := range out.trace {
		t.Log(l)
	}
	t.Log(out.world)
	for _, v := range out.violations {
		t.Log(v)
	}
	if !out.failed() {
		t.Log("it does not fail")
	}
}
