package history

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// log is every change of the clients' keys, in etcd's order.
type log struct {
	events  []Event
	known   map[change]int // where among events
	byKey   map[string][]Event
	byValue map[string]Event
	// told is when a change was first heard of by anybody.
	told   map[change]time.Duration
	hidden map[string]hidden // of keys that can have changed without anybody being told
}

// change names a change: each key changes once in a revision.
type change struct {
	revision int64
	key      string
}

func (e Event) change() change { return change{e.Revision, e.Key} }

func (l *log) add(e Event) {
	if _, ok := l.known[e.change()]; !ok {
		l.known[e.change()] = len(l.events)
		l.events = append(l.events, e)
	}
}

// newLog takes what etcd tells in the end; for what was compacted away, what it told
// before; and of what it told nobody, what it answered.
func newLog(h History) *log {
	l := &log{
		known: map[change]int{}, byKey: map[string][]Event{}, byValue: map[string]Event{},
		told: map[change]time.Duration{}, hidden: map[string]hidden{},
	}
	for _, e := range h.Log {
		l.add(e)
	}
	for _, w := range h.Watches {
		for _, e := range w.Events {
			if within(h.Holes, e.Revision) {
				l.add(e)
			}
			if at, ok := l.told[e.change()]; !ok || e.At < at {
				l.told[e.change()] = e.At
			}
		}
	}
	l.answered(h)
	slices.SortFunc(l.events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), strings.Compare(a.Key, b.Key))
	})
	for i, e := range l.events {
		l.known[e.change()] = i
		if at, ok := l.told[e.change()]; !ok || e.At < at {
			l.told[e.change()] = e.At
		}
		l.byKey[e.Key] = append(l.byKey[e.Key], e)
		if e.Value != "" {
			l.byValue[e.Value] = e
		}
	}
	l.hide(h)
	return l
}

// at is the last change of a key up to a revision that is known.
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
	for key, events := range l.byKey {
		n := count{hidden: l.hidden[key]}
		for i, e := range events {
			wrong := n.next(e)
			switch {
			case wrong == "":
			case i == 0:
				v.add("the key's first change is no first one: %s (version %d)", e, e.Version)
			default:
				v.add("%s", wrong)
			}
		}
	}
	return v.found
}
