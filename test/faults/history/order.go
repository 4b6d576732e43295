package history

import (
	"cmp"
	"slices"
)

// writes checks that every acknowledged write took place, at the revision that
// its client was told, that no refused one did, and that nobody else writes.
func writes(h History, l *log) []Violation {
	v := list{check: "writes"}
	made := map[string]bool{}
	for _, o := range h.Ops {
		if o.Value == "" {
			continue
		}
		made[o.Value] = true
		e, done := l.byValue[o.Value]
		switch {
		case o.Outcome == OK && o.writes() && !done:
			v.add("an acknowledged write is lost: %s", o)
		case o.Outcome == OK && o.writes() && e.Revision != o.Revision:
			v.add("acknowledged at another revision than %d: %s", e.Revision, o)
		case (o.Outcome == Refused || !o.writes()) && done:
			v.add("it took place, and its client was told that it did not: %s", o)
		case done && l.told[e.change()] < o.Call:
			v.add("it took place before it was asked for: %s", o)
		}
	}
	for _, e := range l.events {
		if e.Value != "" && !made[e.Value] {
			v.add("nobody wrote this: %s", e)
		}
	}
	return v.found
}

// revisions checks that the store's revision never goes back: an answer is not of
// an earlier revision than any answer that was there before it was asked for, and
// a write is of a later one.
func revisions(h History) []Violation {
	v := list{check: "revisions"}
	ops := tellRevisions(h.Ops)
	returned := slices.Clone(ops)
	slices.SortFunc(ops, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(returned, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest Op
	next := 0
	for _, o := range ops {
		for ; next < len(returned) && returned[next].Return < o.Call; next++ {
			if returned[next].Revision > newest.Revision {
				newest = returned[next]
			}
		}
		if o.Revision < newest.Revision || o.writes() && o.Revision == newest.Revision {
			v.add("%s is from before %s", o, newest)
		}
	}
	return v.found
}

// tellRevisions are the operations whose answer tells the store's revision.
func tellRevisions(all []Op) []Op {
	var ops []Op
	for _, o := range all {
		if o.Outcome == OK && (o.Kind == Get || o.Kind == Put || o.Kind == CAS || o.Kind == Delete) {
			ops = append(ops, o)
		}
	}
	return ops
}

// reads checks each answer against the log at the answer's own revision.
func reads(h History, l *log) []Violation {
	v := list{check: "reads"}
	for _, o := range h.Ops {
		if o.Outcome != OK {
			continue
		}
		switch o.Kind {
		case Get:
			if !l.agrees(o.Key, o.Revision, o.Seen) {
				v.add("%s, and the log says otherwise", o)
			}
		case CAS:
			l.compared(&v, o)
		case Delete:
			e, ok := l.at(o.Key, o.Revision-1)
			was := ok && !e.Deleted
			x := l.hidden[o.Key]
			if was != o.Deleted && !(o.Deleted && x.put(e.Revision, o.Revision-1)) && !(was && x.deleted(e.Revision, o.Revision-1)) {
				v.add("%s deleted something: %v, there was something: %v", o, o.Deleted, was)
			}
		default: // it says nothing of keys
		}
	}
	return v.found
}

func (l *log) compared(v *list, o Op) {
	asked := o.Revision
	if o.Succeeded {
		asked--
	}
	e, ok := l.at(o.Key, asked)
	mod := int64(0)
	if ok && !e.Deleted {
		mod = e.Revision
	}
	x := l.hidden[o.Key]
	switch {
	case o.Succeeded && mod == o.Expect:
	case o.Succeeded && o.Expect == 0 && x.deleted(e.Revision, asked):
	case o.Succeeded && o.Expect > e.Revision && x.put(o.Expect-1, min(o.Expect, asked)):
	case o.Succeeded, o.Seen != nil && mod == o.Expect, o.Seen == nil && o.Expect == 0:
		v.add("%s, and mod was %d", o, mod)
	}
	if !o.Succeeded && !l.agrees(o.Key, asked, o.Seen) {
		v.add("%s, and the log says otherwise", o)
	}
}

// agrees says whether a key can have been read so. What was seen untold is in the
// log by that, so nothing but a deletion can have come between.
func (l *log) agrees(key string, revision int64, seen *KV) bool {
	e, ok := l.at(key, revision)
	if !ok || e.Deleted {
		return seen == nil
	}
	if seen == nil {
		return l.hidden[key].deleted(e.Revision, revision)
	}
	return seen.Value == e.Value && seen.Mod == e.Revision && (seen.Version == e.Version || e.Version == 0) && seen.Lease == e.Lease
}
