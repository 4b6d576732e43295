package history

import "strings"

// watches checks what each watch was told: in order of revisions, nothing twice,
// nothing but what took place, and everything that did up to the end.
func watches(h History, l *log) []Violation {
	v := list{check: "watches"}
	for _, w := range h.Watches {
		w.ordered(&v)
		w.whole(&v, h, l)
	}
	return v.found
}

func (w Watch) ordered(v *list) {
	told := map[change]bool{}
	last := w.From - 1
	for _, e := range w.Events {
		if told[e.change()] {
			v.add("%s was told twice: %s", w, e)
		}
		told[e.change()] = true
		if e.Revision < last {
			v.add("%s was told %s after revision %d", w, e, last)
		}
		if e.Revision < w.From {
			v.add("%s was told what it did not ask for: %s", w, e)
		}
		if !strings.HasPrefix(e.Key, w.Prefix) {
			v.add("%s was told of another prefix: %s", w, e)
		}
		last = max(last, e.Revision)
	}
}

func (w Watch) whole(v *list, h History, l *log) {
	told := map[change]Event{}
	for _, e := range w.Events {
		told[e.change()] = e
	}
	for _, e := range l.events {
		if !strings.HasPrefix(e.Key, w.Prefix) || e.Revision < w.From || e.Revision > h.Last {
			continue
		}
		got, ok := told[e.change()]
		delete(told, e.change())
		switch {
		case !ok && !within(w.Gaps, e.Revision):
			v.add("%s was not told: %s", w, e)
		case ok && (got.Value != e.Value || got.Deleted != e.Deleted || got.Lease != e.Lease || got.Version != e.Version):
			v.add("%s was told %s, and it was %s", w, got, e)
		}
	}
	for _, e := range told {
		if e.Revision <= h.Last {
			v.add("%s was told what did not take place: %s", w, e)
		}
	}
}

func (w Watch) String() string { return w.Client + "'s watch of " + w.Prefix }
