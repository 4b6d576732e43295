package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Summary is what a run consisted of, a line each.
func Summary(h History) string {
	var b strings.Builder
	counts := map[Kind]map[Outcome]int{}
	for _, o := range h.Ops {
		if counts[o.Kind] == nil {
			counts[o.Kind] = map[Outcome]int{}
		}
		counts[o.Kind][o.Outcome]++
	}
	fmt.Fprintf(&b, "%-12s %8s %8s %8s %8s\n", "operations", OK, Refused, Full, Unknown)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "  %-10s %8d %8d %8d %8d\n", k, counts[k][OK], counts[k][Refused], counts[k][Full], counts[k][Unknown])
	}
	for _, w := range h.Watches {
		fmt.Fprintf(&b, "%s: %d changes over %d streams %v; cut off from %d revisions\n", w, len(w.Events), w.Streams, w.Ends, length(w.Gaps))
	}
	told := map[string]bool{}
	for _, w := range h.Watches {
		if untold := h.untold(w.Prefix); !told[w.Prefix] && len(untold) > 0 {
			fmt.Fprintf(&b, "nobody was told what changed below %s in %d revisions: %v\n", w.Prefix, length(untold), untold)
		}
		told[w.Prefix] = true
	}
	tried := map[Verdict]int{}
	for _, a := range h.Attempts {
		tried[a.Verdict]++
	}
	fmt.Fprintf(&b, "another's keys tried: %d times kept out, %d let in, %d without an answer\n", tried[Kept], tried[LetIn], tried[Nothing])
	if l := newLog(h); full(h) > 0 {
		fmt.Fprintf(&b, "of the %d writes refused for want of room etcd did %d\n", full(h), l.done(h))
	}
	fmt.Fprintf(&b, "revisions %d to %d, %d changes; the log has %d holes of %d revisions", h.First, h.Last, len(h.Log), len(h.Holes), length(h.Holes))
	return b.String()
}

func full(h History) int {
	n := 0
	for _, o := range h.Ops {
		if o.Outcome == Full && o.writes() {
			n++
		}
	}
	return n
}

// done counts those that took place all the same.
func (l *log) done(h History) int {
	n := 0
	for _, o := range h.Ops {
		if _, took := l.settle(o); took && o.Outcome == Full {
			n++
		}
	}
	return n
}
