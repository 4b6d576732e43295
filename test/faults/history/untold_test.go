package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// cut has history dropped up to a revision, when neither the log nor any watch had
// told what was after another.
func cut(h *History, from, to int64) {
	gone := Gap{from, to}
	dropped := func(e Event) bool { return gone.has(e.Revision) }
	h.Holes, h.Compactions = append(h.Holes, gone), append(h.Compactions, Gap{to, to})
	h.Log = slices.DeleteFunc(h.Log, dropped)
	for i := range h.Watches {
		w := &h.Watches[i]
		w.Gaps = append(w.Gaps, gone)
		w.Events = slices.DeleteFunc(w.Events, dropped)
	}
}

// TestNothingIsFoundWhereNobodyWasTold, wherever that is in a right history, and
// however long.
func TestNothingIsFoundWhereNobodyWasTold(t *testing.T) {
	untold := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		h := random(r, 150)
		whole := newLog(h)
		for range 1 + r.IntN(3) {
			from := 2 + r.Int64N(h.Last-2)
			cut(&h, from, min(h.Last, from+r.Int64N(20)))
		}
		for _, v := range Check(h, Limits{}, patience) {
			t.Errorf("seed %d: %s", seed, v)
		}
		untold += len(whole.events) - len(newLog(h).events)
	}
	if untold < 400 {
		t.Errorf("only %d changes were known to nobody", untold)
	}
}

// TestWrongHistoriesAreRefusedWhereNobodyWasTold: what nobody was told of in one
// place hides nothing in another.
func TestWrongHistoriesAreRefusedBesideWhatNobodyWasTold(t *testing.T) {
	for name, c := range spoilt() {
		t.Run(name, func(t *testing.T) {
			tried, found := 0, 0
			for seed := range uint64(40) {
				h := random(rand.New(rand.NewPCG(seed, 2)), 150)
				if !c.spoil(&h) {
					continue
				}
				tried++
				cut(&h, h.Last*5/8, h.Last*6/8)
				if has(Check(h, enough(), patience), c.check, c.part) {
					found++
				}
			}
			if found*10 < tried*9 {
				t.Errorf("it is found in %d of %d histories", found, tried)
			}
		})
	}
}

// told is a history of one key, by what was answered: revisions 2 and 3 and from 6 on
// were told, and what was between nobody was.
type told struct{ *History }

const toldKey = "/t/k"

func newTold() told {
	h := &History{First: 1, Last: 9, Windows: []Window{{"in all", 0, time.Hour}}}
	w := Watch{Client: "w", Prefix: "/t/", From: 2, Streams: 1}
	h.Watches = []Watch{w}
	return told{h}
}

// at is when the operations before and after a revision are called.
func at(revision int64) time.Duration { return time.Duration(revision) * time.Second }

func (h told) do(o Op) {
	o.ID, o.Client, o.Key = len(h.Ops)+1, fmt.Sprintf("c%d", len(h.Ops)), toldKey
	if o.Outcome == "" {
		o.Outcome = OK
	}
	if o.Return == 0 {
		o.Call, o.Return = at(o.Revision)-time.Millisecond, at(o.Revision)+time.Millisecond
	}
	h.Ops = append(h.Ops, o)
}

func (h told) event(e Event) {
	e.Key, e.At = toldKey, at(e.Revision)
	h.Log, h.Watches[0].Events = append(h.Log, e), append(h.Watches[0].Events, e)
}

func (h told) put(revision int64, value string, version int64) {
	h.do(Op{Kind: Put, Value: value, Revision: revision})
	h.event(Event{Revision: revision, Value: value, Version: version})
}

func (h told) get(revision int64, seen *KV) {
	h.do(Op{Kind: Get, Revision: revision, Seen: seen})
}

// maybe is a write without an answer, asked for at the time of revision 4.
func (h told) maybe(o Op) {
	o.Outcome, o.Call, o.Return = Unknown, at(4)-time.Millisecond, at(5)
	h.do(o)
}

// TestWhatNobodyWasToldIsJudgedByAnswers: one key was put at revisions 2 and 3, and
// what became of it in 4 and 5 nobody was told.
func TestWhatNobodyWasToldIsJudgedByAnswers(t *testing.T) {
	seen := func(value string, mod, version int64) *KV {
		return &KV{Value: value, Create: 2, Mod: mod, Version: version}
	}
	answered := func(h told) { h.do(Op{Kind: Put, Value: "c", Revision: 4}) }
	for name, c := range map[string]struct {
		then        func(h told)
		check, part string // empty: nothing is to be found
	}{
		"nothing":                              {func(h told) { h.put(6, "d", 3) }, "", ""},
		"nothing, and a version too many":      {func(h told) { h.put(6, "d", 4) }, "log", "is missing"},
		"an answered put":                      {func(h told) { answered(h); h.put(6, "d", 4) }, "", ""},
		"an answered put, and a version short": {func(h told) { answered(h); h.put(6, "d", 3) }, "log", "is missing"},
		"an answered put that was not read later": {func(h told) {
			answered(h)
			h.get(7, seen("b", 3, 2))
		}, "linearizability", "no order"},
		"the same, by the log": {func(h told) {
			answered(h)
			h.get(7, seen("b", 3, 2))
		}, "reads", "the log says otherwise"},
		"an answered put that was gone later": {func(h told) { answered(h); h.get(7, nil) }, "reads", "the log says otherwise"},
		"an answered put that was read": {func(h told) {
			answered(h)
			h.get(7, seen("c", 4, 3))
			h.put(8, "d", 4)
		}, "", ""},
		"an answered put that was read with another version": {func(h told) {
			answered(h)
			h.get(7, seen("c", 4, 5))
		}, "log", "is missing"},
		"one answered put at two revisions": {func(h told) {
			answered(h)
			h.get(7, seen("c", 5, 3))
		}, "log", "took place twice"},
		"two answered puts at one revision": {func(h told) {
			answered(h)
			h.do(Op{Kind: Put, Value: "x", Revision: 4})
		}, "writes", "is lost"},
		"an answered put outside":     {func(h told) { h.do(Op{Kind: Put, Value: "c", Revision: 7}) }, "writes", "is lost"},
		"a read of what nobody wrote": {func(h told) { h.get(7, seen("x", 4, 3)) }, "writes", "nobody wrote this"},
		"a read of what was refused": {func(h told) {
			h.do(Op{Kind: Put, Value: "x", Outcome: Refused, Call: at(4), Return: at(5)})
			h.get(7, seen("x", 4, 3))
		}, "writes", "was told that it did not"},
		"a read of what was asked for later": {func(h told) {
			h.do(Op{Kind: Put, Value: "x", Outcome: Unknown, Call: at(8), Return: at(9)})
			h.get(7, seen("x", 4, 3))
		}, "writes", "before it was asked for"},
		"a read of nothing, and nobody deleted": {func(h told) { h.get(7, nil) }, "reads", "the log says otherwise"},
		"the same, as porcupine sees it":        {func(h told) { h.get(7, nil) }, "linearizability", "no order"},
		"a read of nothing, and perhaps somebody deleted": {func(h told) {
			h.maybe(Op{Kind: Delete, Value: "m"})
			h.get(7, nil)
			h.put(8, "d", 1)
		}, "", ""},
		"there once more after it was gone": {func(h told) {
			h.maybe(Op{Kind: Delete, Value: "m"})
			h.get(6, nil)
			h.get(7, seen("b", 3, 2))
		}, "linearizability", "no order"},
		"a read of nothing, and perhaps somebody deleted later": {func(h told) {
			h.do(Op{Kind: Delete, Value: "m", Outcome: Unknown, Call: at(6), Return: at(7)})
			h.get(6, seen("b", 3, 2))
			h.get(7, nil)
		}, "linearizability", "no order"},
		"a read of nothing, and perhaps somebody deleted when all was told": {func(h told) {
			h.Ops = append(h.Ops, Op{ID: 90, Client: "o", Kind: Get, Key: "/t/other", Outcome: OK, Revision: 6, Call: at(6), Return: at(6) + 1})
			h.do(Op{Kind: Delete, Value: "m", Outcome: Unknown, Call: at(7), Return: at(8)})
			h.get(9, nil)
		}, "reads", "the log says otherwise"},
		"a put that was refused for want of room before": {func(h told) {
			h.do(Op{Kind: Put, Value: "x", Outcome: Full, Call: at(2) + 2*time.Millisecond, Return: at(2) + 3*time.Millisecond})
			h.put(6, "d", 4)
		}, "log", "is missing"},
		"a put that was refused for want of room then": {func(h told) {
			h.do(Op{Kind: Put, Value: "x", Outcome: Full, Call: at(4), Return: at(5)})
			h.put(6, "d", 4)
		}, "", ""},
		"a put that may have been": {func(h told) {
			h.maybe(Op{Kind: Put, Value: "x"})
			h.put(6, "d", 4)
		}, "", ""},
		"a put that may have been, and a version too many": {func(h told) {
			h.maybe(Op{Kind: Put, Value: "x"})
			h.put(6, "d", 5)
		}, "log", "is missing"},
		"a put that may have been, read": {func(h told) {
			h.maybe(Op{Kind: Put, Value: "x"})
			h.get(7, seen("x", 5, 3))
			h.put(8, "d", 4)
		}, "", ""},
		"a put that may have been, read and read away": {func(h told) {
			h.maybe(Op{Kind: Put, Value: "x"})
			h.get(6, seen("x", 5, 3))
			h.get(7, seen("b", 3, 2))
		}, "linearizability", "no order"},
		"a swap of what may have been": {func(h told) {
			h.maybe(Op{Kind: Put, Value: "x"})
			h.do(Op{Kind: CAS, Value: "d", Expect: 5, Succeeded: true, Revision: 6})
			h.event(Event{Revision: 6, Value: "d", Version: 4})
		}, "", ""},
		"a swap of what was not": {func(h told) {
			h.do(Op{Kind: CAS, Value: "d", Expect: 5, Succeeded: true, Revision: 6})
			h.event(Event{Revision: 6, Value: "d", Version: 4})
		}, "linearizability", "no order"},
		"a swap that did not take what was there": {func(h told) {
			h.do(Op{Kind: CAS, Value: "d", Expect: 3, Revision: 6, Seen: seen("b", 3, 2)})
		}, "linearizability", "no order"},
		"a deletion of what may have been gone": {func(h told) {
			h.maybe(Op{Kind: Delete, Value: "m"})
			h.do(Op{Kind: Delete, Value: "n", Revision: 6})
			marker(h, 6, "n", 2)
		}, "", ""},
		"a deletion of what was there that says it was not": {func(h told) {
			h.do(Op{Kind: Delete, Value: "n", Revision: 6})
			marker(h, 6, "n", 1)
		}, "linearizability", "no order"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTold()
			h.put(2, "a", 1)
			h.put(3, "b", 2)
			cut(h.History, 4, 5)
			c.then(h)
			found := Check(*h.History, Limits{}, patience)
			if c.check == "" && len(found) > 0 || c.check != "" && !has(found, c.check, c.part) {
				t.Errorf("%q of %q is to be found: %v", c.part, c.check, found)
			}
		})
	}
}

// marker tells of the second half of a deletion.
func marker(h told, revision int64, value string, version int64) {
	e := Event{Revision: revision, Key: Marker(toldKey), Value: value, Version: version, At: at(revision)}
	h.Log, h.Watches[0].Events = append(h.Log, e), append(h.Watches[0].Events, e)
}

// TestAWatchIsExcusedOnlyByACompaction.
func TestAWatchIsExcusedOnlyByACompaction(t *testing.T) {
	for name, c := range map[string]struct {
		spoil       func(h *History, from, to int64)
		check, part string
	}{
		"nobody compacted": {func(h *History, _, _ int64) { h.Compactions = nil }, "watches", "nobody compacted up to there"},
		"somebody compacted less": {func(h *History, _, to int64) {
			h.Compactions = []Gap{{to - 1, to - 1}}
		}, "watches", "nobody compacted up to there"},
		"a watch was not cut off, and was not told": {func(h *History, _, _ int64) {
			h.Watches[1].Gaps = nil
		}, "writes", "is lost"},
		"a watch was cut off later only": {func(h *History, from, to int64) {
			h.Watches[1].Gaps = []Gap{{(from + to) / 2, to}}
		}, "writes", "is lost"},
		"a watch was not cut off, and the log was read": {func(h *History, _, _ int64) {
			whole := random(rand.New(rand.NewPCG(1, 4)), 150)
			h.Log, h.Holes, h.Watches[1].Gaps = whole.Log, nil, nil
		}, "watches", "was not told"},
		"nobody was told for long": {func(h *History, _, _ int64) {
			cut(h, 2, h.Last/2)
		}, "traffic", "are to be known"},
		"one watch was told little": {func(h *History, _, _ int64) {
			w := &h.Watches[0]
			w.Gaps = []Gap{{2, h.Last * 3 / 4}}
			w.Events = slices.DeleteFunc(w.Events, func(e Event) bool { return w.Gaps[0].has(e.Revision) })
			h.Compactions = append(h.Compactions, Gap{w.Gaps[0].To, w.Gaps[0].To})
		}, "traffic", "changes; it takes"},
	} {
		t.Run(name, func(t *testing.T) {
			h := random(rand.New(rand.NewPCG(1, 4)), 150)
			from, to := h.Last/2, h.Last/2+8
			cut(&h, from, to)
			if found := Check(h, enough(), patience); len(found) > 0 {
				t.Fatalf("it was right: %v", found)
			}
			c.spoil(&h, from, to)
			if found := Check(h, enough(), patience); !has(found, c.check, c.part) {
				t.Errorf("%q of %s is not among %v", c.part, c.check, found)
			}
		})
	}
}

// TestALeaseThatEndedUntold: the key of a lease was put at revision 3, and nobody was
// told what became of it.
func TestALeaseThatEndedUntold(t *testing.T) {
	const lease, ttl = 5, 4 * time.Second
	there := &KV{Value: "b", Create: 3, Mod: 3, Version: 1, Lease: lease}
	revoke := func(h told) {
		h.Ops = append(h.Ops, Op{ID: 99, Client: "l", Kind: Revoke, Lease: lease, Outcome: OK, Call: at(4), Return: at(4) + 1})
	}
	for name, c := range map[string]struct {
		then func(h told)
		part string
	}{
		"nobody looks":           {func(told) {}, ""},
		"gone after its time":    {func(h told) { h.get(8, nil) }, ""},
		"gone in its time":       {func(h told) { h.get(5, nil) }, "was promised until"},
		"revoked":                {func(h told) { revoke(h); h.get(5, nil) }, ""},
		"there when all is told": {func(h told) { h.get(8, there) }, "nobody keeps its lease"},
		"there when all is told, and revoked": {func(h told) {
			revoke(h)
			h.get(8, there)
		}, "its lease was revoked"},
		"revoked, and read before all is told": {func(h told) {
			revoke(h)
			h.do(Op{Kind: Get, Revision: 4, Seen: there, Call: at(4) + 2, Return: at(4) + 3})
		}, "had ended"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTold()
			h.Ops = append(h.Ops, Op{ID: 98, Client: "l", Kind: Grant, Lease: lease, TTL: ttl, Outcome: OK, Call: at(2), Return: at(2) + 1})
			h.do(Op{Kind: Put, Value: "b", Lease: lease, Revision: 3})
			h.event(Event{Revision: 3, Value: "b", Version: 1, Lease: lease})
			cut(h.History, 4, 5)
			c.then(h)
			found := Check(*h.History, Limits{}, patience)
			if c.part == "" && len(found) > 0 || c.part != "" && !has(found, "leases", c.part) {
				t.Errorf("%q is to be found: %v", c.part, found)
			}
		})
	}
}
