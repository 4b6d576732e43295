package history

import "strings"

// cutOffs checks that nothing was kept from anybody but what was compacted away.
func cutOffs(h History) []Violation {
	v := list{check: "watches"}
	check := func(who string, gaps []Gap) {
		for _, g := range gaps {
			if !within(h.Compactions, g.To) {
				v.add("%s was cut off at revision %d, from %d on, and nobody compacted up to there", who, g.To, g.From)
			}
		}
	}
	check("the log", h.Holes)
	for _, w := range h.Watches {
		check(w.String(), w.Gaps)
	}
	return v.found
}

// coverage checks that enough was told for the other checks to mean something: a
// history of which much is known to nobody cannot be judged.
func coverage(h History, l *log, limits Limits) []Violation {
	v := list{check: "traffic"}
	prefixes := map[string]bool{}
	for _, w := range h.Watches {
		told, all := w.told(h, l)
		if all > 0 && float64(told) < limits.Told*float64(all) {
			v.add("%s was told %d of %d changes; it takes %.0f%%", w, told, all, 100*limits.Told)
		}
		prefixes[w.Prefix] = true
	}
	for prefix := range prefixes {
		untold, all := length(h.untold(prefix)), h.Last-h.First
		if float64(all-untold) < limits.Known*float64(all) {
			v.add("nobody was told what changed below %s in %d of %d revisions; %.0f%% are to be known", prefix, untold, all, 100*limits.Known)
		}
	}
	return v.found
}

// told is how many changes a watch was told, of how many that are known.
func (w Watch) told(h History, l *log) (told, all int) {
	asked := func(e Event) bool { return e.Revision >= w.From && e.Revision <= h.Last }
	for _, e := range l.events {
		if asked(e) && strings.HasPrefix(e.Key, w.Prefix) {
			all++
		}
	}
	for _, e := range w.Events {
		if asked(e) {
			told++
		}
	}
	return told, all
}
