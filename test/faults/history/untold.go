package history

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// A watch that is behind when history is dropped is cut off: etcd tells it so, and
// owes it nothing of what was before. The same goes for who reads the log in the end.
// What lies in a hole of the log, and in a gap of each watch of its prefix, is untold:
// only answers know of it. A key can have changed there by what was not answered, or
// by the end of a lease, and by nothing else, so everything else is still judged.

// untold are the revisions in which a key may have changed without anybody being told.
func (h History) untold(key string) []Gap {
	left := h.Holes
	for _, w := range h.Watches {
		if strings.HasPrefix(key, w.Prefix) {
			left = common(left, w.missed())
		}
	}
	return left
}

// missed is what a watch did not ask for, and what it was cut off from.
func (w Watch) missed() []Gap {
	return append([]Gap{{To: w.From - 1}}, w.Gaps...)
}

// common is what lies in both.
func common(some, others []Gap) []Gap {
	var both []Gap
	for _, a := range some {
		for _, b := range others {
			if g := (Gap{max(a.From, b.From), min(a.To, b.To)}); g.From <= g.To {
				both = append(both, g)
			}
		}
	}
	return united(both)
}

// united are the same revisions, in order and none twice.
func united(gaps []Gap) []Gap {
	slices.SortFunc(gaps, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
	var all []Gap
	for _, g := range gaps {
		if n := len(all); n > 0 && g.From <= all[n-1].To {
			all[n-1].To = max(all[n-1].To, g.To)
			continue
		}
		all = append(all, g)
	}
	return all
}

func length(gaps []Gap) int64 {
	n := int64(0)
	for _, g := range gaps {
		n += g.To - g.From + 1
	}
	return n
}

// hidden is when a key can have changed untold.
type hidden struct {
	puts, deletions []Gap
	most            int64 // puts
}

func (x hidden) put(after, upTo int64) bool {
	return len(common(x.puts, []Gap{{after + 1, upTo}})) > 0
}

func (x hidden) deleted(after, upTo int64) bool {
	return len(common(x.deletions, []Gap{{after + 1, upTo}})) > 0
}

// always is after every revision.
const always = math.MaxInt64

// answered adds what answers tell of untold revisions.
func (l *log) answered(h History) {
	for _, o := range h.Ops {
		if o.Outcome != OK {
			continue
		}
		switch {
		case o.Kind == Delete:
			if o.Deleted {
				l.infer(h, Event{Revision: o.Revision, Key: o.Key, Deleted: true, At: o.Return})
			}
			l.infer(h, Event{Revision: o.Revision, Key: Marker(o.Key), Value: o.Value, At: o.Return})
		case o.writes():
			l.infer(h, Event{Revision: o.Revision, Key: o.Key, Value: o.Value, Lease: o.Lease, At: o.Return})
		case o.Seen != nil:
			l.infer(h, Event{Revision: o.Seen.Mod, Key: o.Key, Value: o.Seen.Value, Lease: o.Seen.Lease, Version: o.Seen.Version, At: o.Return})
		}
	}
}

// infer takes an answer for an event, where no event is to be had. That of a write
// does not say which version it made, and a later read may.
func (l *log) infer(h History, e Event) {
	if !within(h.untold(e.Key), e.Revision) {
		return
	}
	i, known := l.known[e.change()]
	switch {
	case !known:
		l.add(e)
		return
	case l.events[i].Version == 0 && l.events[i].Value == e.Value:
		l.events[i].Version = e.Version
	}
	l.events[i].At = min(l.events[i].At, e.At)
}

// hide finds what can have happened untold: whatever nobody knows the end of.
func (l *log) hide(h History) {
	if len(h.Holes) == 0 {
		return
	}
	before := newClock(h)
	for _, o := range h.Ops {
		if _, done := l.byValue[o.Value]; done || !o.writes() || o.Outcome != Unknown && o.Outcome != Full {
			continue
		}
		span := Gap{before.newest(o.Call) + 1, always}
		if o.Outcome == Full {
			span.To = before.oldest(o.Return)
		}
		if o.Kind == Delete {
			l.mayDelete(h, o.Key, span)
			l.mayPut(h, Marker(o.Key), span)
			continue
		}
		l.mayPut(h, o.Key, span)
		if o.Lease != 0 {
			l.mayDelete(h, o.Key, Gap{span.From, always})
		}
	}
	for key, events := range l.byKey {
		if e := events[len(events)-1]; e.Lease != 0 && !e.Deleted {
			l.mayDelete(h, key, Gap{e.Revision + 1, always})
		}
	}
}

func (l *log) mayPut(h History, key string, span Gap) {
	if gaps := common(h.untold(key), []Gap{span}); len(gaps) > 0 {
		x := l.hidden[key]
		x.puts, x.most = append(x.puts, gaps...), x.most+1
		l.hidden[key] = x
	}
}

func (l *log) mayDelete(h History, key string, span Gap) {
	x := l.hidden[key]
	x.deletions = append(x.deletions, common(h.untold(key), []Gap{span})...)
	l.hidden[key] = x
}

// clock tells which revisions were there at a time, by answers.
type clock struct {
	returned, called []Op
	highest, lowest  []int64 // up to one of returned; from one of called on
}

func newClock(h History) clock {
	c := clock{returned: tellRevisions(h.Ops)}
	c.called = slices.Clone(c.returned)
	slices.SortFunc(c.returned, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
	slices.SortFunc(c.called, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	c.highest, c.lowest = make([]int64, len(c.returned)), make([]int64, len(c.called))
	high, low := int64(0), int64(always)
	for i, o := range c.returned {
		high = max(high, o.Revision)
		c.highest[i] = high
	}
	for i, o := range slices.Backward(c.called) {
		low = min(low, o.Revision)
		c.lowest[i] = low
	}
	return c
}

// newest is a revision that was there before a time.
func (c clock) newest(at time.Duration) int64 {
	i, _ := slices.BinarySearchFunc(c.returned, at, func(o Op, at time.Duration) int { return cmp.Compare(o.Return, at) })
	if i == 0 {
		return 0
	}
	return c.highest[i-1]
}

// oldest is a revision that holds everything from before a time.
func (c clock) oldest(at time.Duration) int64 {
	i, _ := slices.BinarySearchFunc(c.called, at+1, func(o Op, at time.Duration) int { return cmp.Compare(o.Call, at) })
	if i == len(c.called) {
		return always
	}
	return c.lowest[i]
}
