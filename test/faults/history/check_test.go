package history

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 30 * time.Second

func enough() Limits { return Limits{InWindow: 3, PerClient: 4, Refusals: 3, Told: 0.4, Known: 0.7} }

// TestNothingIsFoundInRightHistories, in which operations overlap and clients are
// not told what came of theirs.
func TestNothingIsFoundInRightHistories(t *testing.T) {
	for seed := range uint64(200) {
		h := random(rand.New(rand.NewPCG(seed, 1)), 150)
		for _, v := range Check(h, enough(), patience) {
			t.Errorf("seed %d: %s", seed, v)
		}
	}
}

// TestARightHistoryIsStillRightWhenItsBeginningWasCompactedAway.
func TestARightHistoryIsStillRightWhenItsBeginningWasCompactedAway(t *testing.T) {
	for seed := range uint64(50) {
		h := random(rand.New(rand.NewPCG(seed, 1)), 150)
		gone := Gap{1, h.Last / 2}
		h.Holes, h.Compactions = []Gap{gone}, []Gap{{gone.To, gone.To}}
		h.Log = slices.DeleteFunc(h.Log, func(e Event) bool { return gone.has(e.Revision) })
		// One watch was away then, and etcd told it that it cannot tell.
		w := &h.Watches[1]
		w.Gaps = []Gap{{5, gone.To}}
		w.Events = slices.DeleteFunc(w.Events, func(e Event) bool { return w.Gaps[0].has(e.Revision) })
		for _, v := range Check(h, enough(), patience) {
			t.Errorf("seed %d: %s", seed, v)
		}
	}
}

// early makes a lease end a second before the time that was promised last.
func early(h *History) time.Duration {
	for i, o := range h.Ops {
		if o.Kind == KeepAlive && o.Lease == 8 {
			later := o
			later.Call, later.Return = o.Call+2*time.Second, o.Return+2*time.Second
			h.Ops = slices.Insert(h.Ops, i+1, later)
			return later.Call
		}
	}
	return 0
}

// TestALeaseMayEndEarlyAfterAStall, but not without one, nor for what was promised
// before it.
func TestALeaseMayEndEarlyAfterAStall(t *testing.T) {
	for name, c := range map[string]struct {
		from, to time.Duration // from the promise on
		bad      bool
	}{
		"no stall":           {-time.Hour, -time.Hour, true},
		"promised in it":     {-time.Second, time.Second, false},
		"promised before it": {time.Second, 2 * time.Second, true},
		"long ago":           {-20 * time.Second, -15 * time.Second, true},
	} {
		h := random(rand.New(rand.NewPCG(1, 1)), 100)
		at := early(&h)
		h.Stalls = []Window{{"stall", at + c.from, at + c.to}}
		if found := Check(h, enough(), patience); has(found, "leases", "was promised until") != c.bad {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// spoilt are right histories made wrong, and what is to be found in each.
func spoilt() map[string]struct {
	spoil       func(h *History) bool // false: this history has nothing of the kind
	check, part string
} {
	type c = struct {
		spoil       func(h *History) bool
		check, part string
	}
	op := func(is func(Op) bool, change func(h *History, o *Op)) func(*History) bool {
		return func(h *History) bool {
			o := some(h, is)
			if o != nil {
				change(h, o)
			}
			return o != nil
		}
	}
	read := func(o Op) bool { return o.Kind == Get && o.Outcome == OK && o.Seen != nil && o.Seen.Version > 1 }
	put := func(o Op) bool { return o.Kind == Put && o.Outcome == OK && o.Lease == 0 }
	drop := func(events *[]Event, value string) {
		*events = slices.DeleteFunc(*events, func(e Event) bool { return e.Value == value })
	}
	watch := func(change func(w *Watch)) func(*History) bool {
		return func(h *History) bool { change(&h.Watches[0]); return true }
	}
	return map[string]c{
		"a stale read": {op(read, func(h *History, o *Op) {
			o.Seen = before(h, *o)
		}), "reads", "the log says otherwise"},
		"a stale read, as porcupine sees it": {op(read, func(h *History, o *Op) {
			o.Seen = before(h, *o)
		}), "linearizability", "no order"},
		"a stale read that says so": {op(
			func(o Op) bool { return read(o) && o.Call > 20*time.Millisecond },
			func(_ *History, o *Op) { o.Revision = 1 }), "revisions", "from before"},
		"a read of what is not there": {op(read, func(_ *History, o *Op) {
			o.Seen = &KV{Value: "nobody's", Mod: 2, Version: 1}
		}), "linearizability", "no order"},
		"a read of another version": {op(read, func(_ *History, o *Op) {
			o.Seen.Version++
		}), "linearizability", "no order"},
		"a lost write": {op(put, func(h *History, o *Op) {
			drop(&h.Log, o.Value)
			for i := range h.Watches {
				drop(&h.Watches[i].Events, o.Value)
			}
		}), "writes", "is lost"},
		"a change that left a hole": {func(h *History) bool {
			for _, e := range h.Log {
				if next, ok := newLog(*h).after(e); ok && e.Version > 1 && !next.Deleted {
					drop(&h.Log, e.Value)
					return true
				}
			}
			return false
		}, "log", "is missing"},
		"a write at another revision": {op(put, func(_ *History, o *Op) {
			o.Revision++
		}), "writes", "at another revision"},
		"a refused write that took place": {op(put, func(_ *History, o *Op) {
			o.Outcome = Refused
		}), "writes", "was told that it did not"},
		"a write that took place after it was refused for want of room": {late, "linearizability", "no order"},
		"a write that nobody made": {op(put, func(h *History, o *Op) {
			h.Ops = slices.DeleteFunc(h.Ops, func(p Op) bool { return p.ID == o.ID })
		}), "writes", "nobody wrote this"},
		"a write before it was asked for": {op(put, func(_ *History, o *Op) {
			o.Call, o.Return = o.Call+time.Hour, o.Return+time.Hour
		}), "writes", "before it was asked for"},
		"one write twice": {op(put, func(h *History, o *Op) {
			h.Log = append(h.Log, Event{Revision: h.Last + 1, Key: o.Key, Value: o.Value, Version: 1})
		}), "log", "took place twice"},
		"a compare-and-swap that should not have succeeded": {op(
			func(o Op) bool { return o.Kind == CAS && o.Outcome == OK && o.Succeeded },
			func(_ *History, o *Op) { o.Expect++ }), "reads", "and mod was"},
		"the same, as porcupine sees it": {op(
			func(o Op) bool { return o.Kind == CAS && o.Outcome == OK && o.Succeeded },
			func(_ *History, o *Op) { o.Expect++ }), "linearizability", "no order"},
		"a deletion of nothing that says it was something": {op(
			func(o Op) bool { return o.Kind == Delete && o.Outcome == OK },
			func(_ *History, o *Op) { o.Deleted = !o.Deleted }), "linearizability", "no order"},
		"a deletion that says otherwise": {op(
			func(o Op) bool { return o.Kind == Delete && o.Outcome == OK },
			func(_ *History, o *Op) { o.Deleted = !o.Deleted }), "reads", "deleted something"},

		"an event twice":                 {watch(func(w *Watch) { w.Events = slices.Insert(w.Events, 4, w.Events[3]) }), "watches", "told twice"},
		"an event twice, after a resume": {watch(func(w *Watch) { w.Events = append(w.Events, w.Events[2]) }), "watches", "told twice"},
		"a missed event":                 {watch(func(w *Watch) { w.Events = slices.Delete(w.Events, 3, 4) }), "watches", "was not told"},
		"a watch that ended early":       {watch(func(w *Watch) { w.Events = w.Events[:len(w.Events)-1] }), "watches", "was not told"},
		"a watch that was told nothing":  {watch(func(w *Watch) { w.Events = nil }), "watches", "was not told"},
		"events out of order": {func(h *History) bool {
			for i, events := 1, h.Watches[0].Events; i < len(events); i++ {
				if events[i-1].Revision != events[i].Revision {
					events[i-1], events[i] = events[i], events[i-1]
					return true
				}
			}
			return false
		}, "watches", "after revision"},
		"an event of another's prefix": {watch(func(w *Watch) { w.Events[2].Key = "/u/k" }), "watches", "of another prefix"},
		"an event that was not":        {watch(func(w *Watch) { w.Events[2].Key = "/t/never" }), "watches", "what did not take place"},
		"an event with another value":  {watch(func(w *Watch) { w.Events[2].Value = "else" }), "watches", "and it was"},
		"an event from before":         {watch(func(w *Watch) { w.From = 4 }), "watches", "did not ask for"},
		"a gap that does not excuse": {watch(func(w *Watch) {
			w.Gaps = []Gap{{w.Events[2].Revision, w.Events[2].Revision}}
			w.Events = slices.Delete(w.Events, 5, 6)
		}), "watches", "was not told"},

		"a key that went before its lease's time": {func(h *History) bool {
			for _, o := range h.Ops {
				if o.Kind == KeepAlive && o.Lease == 8 { // one that was answered just before the end
					o.Call, o.Return = o.Call+4*time.Second, o.Return+4*time.Second
					h.Ops = append(h.Ops, o)
					return true
				}
			}
			return false
		}, "leases", "was promised until"},
		"a key that is not there in its lease's time": {func(h *History) bool {
			return op(func(o Op) bool { return o.Kind == Get && o.Seen != nil && o.Seen.Lease == 8 },
				func(_ *History, o *Op) { o.Seen = nil })(h)
		}, "linearizability", "no order"},
		"a key that outlives its lease": {func(h *History) bool {
			stays(h, "/t/lease/8")
			return true
		}, "leases", "nobody keeps its lease"},
		"a key that outlives its lease's revocation": {func(h *History) bool {
			stays(h, "/t/lease/7")
			return true
		}, "leases", "was revoked"},

		"somebody let in": {func(h *History) bool {
			h.Attempts[1].Verdict, h.Attempts[1].Detail = LetIn, "1 key"
			return true
		}, "isolation", "read another's key"},
		"nobody tried": {func(h *History) bool { h.Attempts = nil; return true }, "traffic", "nobody tried"},
		"who tried got no answer": {func(h *History) bool {
			h.Attempts[1].Verdict = Nothing
			return true
		}, "traffic", "was refused 2 times"},
		"a client that was not served in a window": {func(h *History) bool {
			h.Windows = append(h.Windows, Window{"before a fault", 0, 3 * time.Millisecond})
			return true
		}, "traffic", "before a fault"},
		"a client that did little": {op(put, func(_ *History, o *Op) { o.Client = "lazy" }), "traffic", "lazy had 1 answers; "},
		"nobody did anything":      {func(h *History) bool { h.Ops = nil; return true }, "traffic", "nobody did anything"},
	}
}

// late makes a put one that was refused before somebody read that it was not there.
func late(h *History) bool {
	puts := newLog(*h).byValue
	for _, read := range h.Ops {
		if read.Kind != Get || read.Outcome != OK {
			continue
		}
		for i := range h.Ops {
			o := &h.Ops[i]
			if e := puts[o.Value]; o.Kind == Put && o.Outcome == OK && o.Lease == 0 && o.Key == read.Key && e.Revision > read.Revision && o.Call > 1 {
				o.Outcome, o.Call, o.Return, o.Revision = Full, read.Call-2, read.Call-1, 0
				return true
			}
		}
	}
	return false
}

// after is the next change of the same key.
func (l *log) after(e Event) (Event, bool) {
	events := l.byKey[e.Key]
	i := slices.IndexFunc(events, func(o Event) bool { return o.Revision > e.Revision })
	if i < 0 {
		return Event{}, false
	}
	return events[i], true
}

// before makes an answer of what the key was one put earlier.
func before(h *History, o Op) *KV {
	e, _ := newLog(*h).at(o.Key, o.Seen.Mod-1)
	return &KV{Value: e.Value, Create: o.Seen.Create, Mod: e.Revision, Version: e.Version}
}

// stays takes the end of a key out of everything that was told.
func stays(h *History, key string) {
	is := func(e Event) bool { return e.Key == key && e.Deleted }
	h.Log = slices.DeleteFunc(h.Log, is)
	for i := range h.Watches {
		h.Watches[i].Events = slices.DeleteFunc(h.Watches[i].Events, is)
	}
}

// TestWrongHistoriesAreRefused: each way of being wrong is found, by the check
// whose it is, in every history that can be spoilt so.
func TestWrongHistoriesAreRefused(t *testing.T) {
	for name, c := range spoilt() {
		t.Run(name, func(t *testing.T) {
			tried := 0
			for seed := range uint64(20) {
				h := random(rand.New(rand.NewPCG(seed, 2)), 150)
				if !c.spoil(&h) {
					continue
				}
				tried++
				if found := Check(h, enough(), patience); !has(found, c.check, c.part) {
					t.Errorf("seed %d: %q of %s is not among %v", seed, c.part, c.check, found)
				}
			}
			if tried < 10 {
				t.Errorf("only %d histories could be spoilt", tried)
			}
		})
	}
}

// TestAViolationIsDrawn: what porcupine refuses comes with a page.
func TestAViolationIsDrawn(t *testing.T) {
	h := random(rand.New(rand.NewPCG(1, 2)), 150)
	c := spoilt()["a read of another version"]
	if !c.spoil(&h) {
		t.Fatal("nothing to spoil")
	}
	for _, v := range Check(h, enough(), patience) {
		if v.Draw == nil {
			continue
		}
		var b bytes.Buffer
		if err := v.Draw(&b); err != nil || !strings.Contains(b.String(), "<html") {
			t.Errorf("%v, %d bytes", err, b.Len())
		}
		return
	}
	t.Error("no violation can be drawn")
}

func TestAHistoryIsSavedAndLoaded(t *testing.T) {
	h := random(rand.New(rand.NewPCG(1, 2)), 50)
	for _, name := range []string{"h.json", "h.json.gz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := h.Save(path); err != nil {
			t.Fatal(err)
		}
		back, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(h, back); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) && err == nil {
		t.Error("a file that is not there was loaded")
	}
}
