package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// store is a right one, in memory: what it answers makes right histories.
type store struct {
	revision int64
	now      time.Duration
	keys     map[string]KV
	log      []Event
}

func newStore() *store { return &store{revision: 1, keys: map[string]KV{}} }

func (s *store) tick() time.Duration { s.now += time.Millisecond; return s.now }

func (s *store) put(key, value string, lease int64) {
	kv, ok := s.keys[key]
	if !ok {
		kv.Create = s.revision
	}
	kv.Value, kv.Mod, kv.Version, kv.Lease = value, s.revision, kv.Version+1, lease
	s.keys[key] = kv
	s.log = append(s.log, Event{s.revision, key, value, false, lease, kv.Version, s.tick()})
}

func (s *store) remove(key string) {
	delete(s.keys, key)
	s.log = append(s.log, Event{Revision: s.revision, Key: key, Deleted: true, At: s.tick()})
}

func (s *store) seen(key string) *KV {
	if kv, ok := s.keys[key]; ok {
		return &kv
	}
	return nil
}

// do carries an operation out and fills in its answer.
func (s *store) do(o Op) Op {
	o.Outcome = OK
	had := s.seen(o.Key)
	switch o.Kind {
	case Put:
		s.revision++
		s.put(o.Key, o.Value, o.Lease)
	case Delete:
		s.revision++
		if o.Deleted = had != nil; had != nil {
			s.remove(o.Key)
		}
		s.put(Marker(o.Key), o.Value, 0)
	case CAS:
		mod := int64(0)
		if had != nil {
			mod = had.Mod
		}
		if o.Succeeded = mod == o.Expect; o.Succeeded {
			s.revision++
			s.put(o.Key, o.Value, 0)
		} else {
			o.Seen = had
		}
	case Get:
		o.Seen = had
	case Revoke:
		s.revision++
		s.remove(o.Key)
	case Grant, KeepAlive:
	}
	o.Revision = s.revision
	return o
}

// client is one that has an operation under way.
type client struct {
	op   Op
	done bool
}

// random is a history of clients whose operations overlap, some of whom are never
// told what came of theirs, and of some of these the operation never comes to be.
func random(r *rand.Rand, steps int) History {
	s := newStore()
	var ops []Op
	busy := map[string]*client{}
	names := []string{"a", "b", "c"}
	id := 0
	for range steps {
		name := names[r.IntN(len(names))]
		c := busy[name]
		switch {
		case c == nil:
			id++
			busy[name] = &client{op: ask(r, s, name, id)}
		case !c.done && r.IntN(8) == 0: // the client gives up
			c.op.Outcome, c.op.Return = Unknown, s.tick()
			ops = append(ops, c.op)
			delete(busy, name)
			if r.IntN(2) == 0 { // and the operation arrives later
				s.do(c.op)
			}
		case !c.done && r.IntN(16) == 0: // refused for want of room
			c.op.Outcome, c.op.Return = Full, s.tick()
			ops = append(ops, c.op)
			delete(busy, name)
		case !c.done:
			c.op, c.done = s.do(c.op), true
		default:
			c.op.Return = s.tick()
			switch r.IntN(16) {
			case 0, 1:
				c.op.Outcome = Unknown // the answer is lost
			case 2:
				c.op.Outcome = Full // done, and answered so
			default: // it is told
			}
			ops = append(ops, c.op)
			delete(busy, name)
		}
	}
	for _, name := range names {
		if c := busy[name]; c != nil { // the end comes before the answer
			c.op.Outcome, c.op.Return = Unknown, s.tick()
			ops = append(ops, c.op)
		}
	}
	ops = append(ops, leased(s)...)
	return finish(s, ops)
}

func ask(r *rand.Rand, s *store, name string, id int) Op {
	o := Op{ID: id, Client: name, Call: s.tick(), Key: fmt.Sprintf("/t/k%d", r.IntN(2)), Value: fmt.Sprintf("v%d", id)}
	switch r.IntN(5) {
	case 0, 1:
		o.Kind, o.Value = Get, ""
	case 2:
		o.Kind = Put
	case 3:
		o.Kind = CAS
		if kv := s.seen(o.Key); kv != nil && r.IntN(4) > 0 {
			o.Expect = kv.Mod
		}
	default:
		o.Kind = Delete
	}
	return o
}

// leased are two leases: one is revoked, one runs out.
func leased(s *store) []Op {
	var ops []Op
	do := func(o Op) {
		o.Client, o.Call = "l", s.tick()
		o = s.do(o)
		o.Return = s.tick()
		ops = append(ops, o)
	}
	for _, lease := range []int64{7, 8} {
		key := fmt.Sprintf("/t/lease/%d", lease)
		do(Op{Kind: Grant, Lease: lease, TTL: 3 * time.Second})
		do(Op{Kind: Put, Key: key, Value: fmt.Sprintf("l%d", lease), Lease: lease})
		s.now += 2 * time.Second
		do(Op{Kind: KeepAlive, Lease: lease, TTL: 3 * time.Second})
		s.now += 2 * time.Second
		do(Op{Kind: Get, Key: key})
	}
	// The revocation names no key, as etcd's does not.
	call := s.tick()
	s.do(Op{Kind: Revoke, Key: "/t/lease/7"})
	ops = append(ops, Op{Client: "l", Kind: Revoke, Lease: 7, Outcome: OK, Call: call, Return: s.tick()})
	s.now += 2 * time.Second
	s.do(Op{Kind: Revoke, Key: "/t/lease/8"})
	do(Op{Kind: Get, Key: "/t/lease/8"})
	return ops
}

// finish adds what watches were told, and the log.
func finish(s *store, ops []Op) History {
	h := History{Ops: ops, First: 1, Last: s.revision, Windows: []Window{{"in all", 0, s.tick()}}}
	for i := range 3 {
		h.Attempts = append(h.Attempts, Attempt{"p", "read another's key", time.Duration(i), Kept, ""})
	}
	w := Watch{Client: "w", Prefix: "/t/", From: 2, Streams: 1}
	for _, e := range s.log {
		e.At += time.Microsecond
		w.Events = append(w.Events, e)
	}
	h.Watches = []Watch{w, clone(w)}
	h.Log = slices.Clone(s.log)
	for i := range h.Log {
		h.Log[i].At = s.tick() // read in the end
	}
	return h
}

func clone(w Watch) Watch {
	w.Events = slices.Clone(w.Events)
	return w
}

// some finds an operation to be spoilt.
func some(h *History, is func(Op) bool) *Op {
	for i := range h.Ops {
		if is(h.Ops[i]) {
			return &h.Ops[i]
		}
	}
	return nil
}

func has(found []Violation, check, part string) bool {
	return slices.ContainsFunc(found, func(v Violation) bool {
		return v.Check == check && strings.Contains(v.Text, part)
	})
}
