package history

import (
	"maps"
	"slices"
)

// isolation checks that nobody was let in to what is another's.
func isolation(h History) []Violation {
	v := list{check: "isolation"}
	for _, a := range h.Attempts {
		if a.Verdict == LetIn {
			v.add("%s at %s: %s: %s", a.Client, a.At, a.What, a.Detail)
		}
	}
	return v.found
}

// traffic checks that there was enough of everything for the other checks to mean
// something: of each client's answers, in all and in each window, and of refusals
// of each thing that was tried.
func traffic(h History, limits Limits) []Violation {
	v := list{check: "traffic"}
	answers := map[string][]Op{}
	for _, o := range h.Ops {
		answers[o.Client] = append(answers[o.Client], o)
	}
	if len(answers) == 0 {
		v.add("nobody did anything")
	}
	for _, client := range slices.Sorted(maps.Keys(answers)) {
		ops := answers[client]
		if n := served(ops, Window{To: 1 << 62}); n < limits.PerClient {
			v.add("%s had %d answers; %d make the run mean something", client, n, limits.PerClient)
		}
		for _, w := range h.Windows {
			if n := served(ops, w); n < limits.InWindow {
				v.add("%s had %d answers %s (%s to %s); it takes %d", client, n, w.Name, w.From, w.To, limits.InWindow)
			}
		}
	}
	refusals := map[string]int{}
	for _, a := range h.Attempts {
		if _, ok := refusals[a.What]; !ok {
			refusals[a.What] = 0
		}
		if a.Verdict == Kept {
			refusals[a.What]++
		}
	}
	if len(refusals) == 0 && limits.Refusals > 0 {
		v.add("nobody tried another's keys")
	}
	for _, what := range slices.Sorted(maps.Keys(refusals)) {
		if refusals[what] < limits.Refusals {
			v.add("%s was refused %d times; it takes %d", what, refusals[what], limits.Refusals)
		}
	}
	return v.found
}

func served(ops []Op, w Window) int {
	n := 0
	for _, o := range ops {
		if o.Outcome == OK && o.Call >= w.From && o.Return <= w.To {
			n++
		}
	}
	return n
}
