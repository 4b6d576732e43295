package history

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// log is every change of the clients' keys, in etcd's order.
type log struct {
	holes   []Gap // there it is what the clients' watches were told
	events  []Event
	byKey   map[string][]Event
	byValue map[string]Event
	// told is when a change was first heard of by anybody.
	told map[change]time.Duration
}

// change names a change: each key changes once in a revision.
type change struct {
	revision int64
	key      string
}

func (e Event) change() change { return change{e.Revision, e.Key} }

// newLog takes what etcd tells in the end, and for what was compacted away what
// it told before.
func newLog(h History) *log {
	l := &log{holes: h.Holes, byKey: map[string][]Event{}, byValue: map[string]Event{}, told: map[change]time.Duration{}}
	known := map[change]bool{}
	add := func(e Event) {
		if !known[e.change()] {
			known[e.change()] = true
			l.events = append(l.events, e)
		}
	}
	for _, e := range h.Log {
		add(e)
	}
	for _, w := range h.Watches {
		for _, e := range w.Events {
			if within(h.Holes, e.Revision) {
				add(e)
			}
			if at, ok := l.told[e.change()]; !ok || e.At < at {
				l.told[e.change()] = e.At
			}
		}
	}
	slices.SortFunc(l.events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), strings.Compare(a.Key, b.Key))
	})
	for _, e := range l.events {
		if at, ok := l.told[e.change()]; !ok || e.At < at {
			l.told[e.change()] = e.At
		}
		l.byKey[e.Key] = append(l.byKey[e.Key], e)
		if e.Value != "" {
			l.byValue[e.Value] = e
		}
	}
	return l
}

// at is the last change of a key up to a revision.
func (l *log) at(key string, revision int64) (Event, bool) {
	events := l.byKey[key]
	i, exact := slices.BinarySearchFunc(events, revision, func(e Event, r int64) int { return cmp.Compare(e.Revision, r) })
	if exact {
		return events[i], true
	}
	if i == 0 {
		return Event{}, false
	}
	return events[i-1], true
}

// known checks that somebody was told of everything: a history of which a part is
// known to nobody cannot be judged.
func known(h History) []Violation {
	v := list{check: "log"}
	for _, hole := range h.Holes {
		for _, w := range h.Watches {
			others := func(o Watch) bool { return o.Prefix == w.Prefix && !o.misses(hole) }
			if w.misses(hole) && !slices.ContainsFunc(h.Watches, others) {
				v.add("nobody was told what changed below %s between revisions %d and %d", w.Prefix, hole.From, hole.To)
			}
		}
	}
	return v.found
}

// consistent checks what the log says of itself: each value once, versions that
// count the puts since a key was made, no deletion of what is not there.
func (l *log) consistent() []Violation {
	v := list{check: "log"}
	seen := map[string]Event{}
	for _, e := range l.events {
		if e.Value == "" {
			continue
		}
		if before, ok := seen[e.Value]; ok {
			v.add("one write took place twice: %s and %s", before, e)
		}
		seen[e.Value] = e
	}
	for _, events := range l.byKey {
		version := int64(0)
		for i, e := range events {
			switch {
			case i == 0 && len(l.holes) > 0:
				version = e.Version
			case i == 0 && (e.Version != 1 || e.Deleted):
				v.add("the key's first change is no first one: %s (version %d)", e, e.Version)
				version = e.Version
			case e.Deleted && version == 0:
				v.add("deleted while it was not there: %s", e)
			case e.Deleted:
				version = 0
			case e.Version != version+1:
				v.add("%s has version %d after %d: a change is missing", e, e.Version, version)
				version = e.Version
			default:
				version++
			}
		}
	}
	return v.found
}
