package history

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearizable has porcupine look for an order of the operations on each key that
// agrees with what clients saw and with when they asked. It knows keys, values,
// versions and revisions; of the log it is told only which of the operations with
// an unknown outcome took place.
func linearizable(h History, l *log, patience time.Duration) []Violation {
	v := list{check: "linearizability"}
	keys := operations(h, l)
	deadline := time.Now().Add(patience)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		left := max(time.Until(deadline), time.Second)
		m := model(l.hidden[key])
		verdict, info := porcupine.CheckOperationsVerbose(m, keys[key], left)
		if verdict == porcupine.Ok {
			continue
		}
		if verdict == porcupine.Unknown {
			v.add("not decided within %s for %d operations on %s", left, len(keys[key]), key)
			continue
		}
		v.add("no order of the %d operations on %s agrees with all of their answers", len(keys[key]), key)
		v.found[len(v.found)-1].Draw = func(w io.Writer) error { return porcupine.Visualize(m, info, w) }
	}
	return v.found
}

// operations are what porcupine is told, by key.
func operations(h History, l *log) map[string][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	number := map[string]int{}
	add := func(o Op) {
		if _, ok := number[o.Client]; !ok {
			number[o.Client] = len(number)
		}
		keys[o.Key] = append(keys[o.Key], porcupine.Operation{
			ClientId: number[o.Client], Input: o, Output: o, Call: int64(o.Call), Return: int64(o.Return),
		})
	}
	for _, o := range h.Ops {
		switch o.Kind {
		case Get:
			if o.Outcome == OK {
				add(o)
			}
		case Put, CAS, Delete:
			if o, took := l.settle(o); took {
				add(o)
			}
		default: // below
		}
	}
	for _, end := range ends(h, l) {
		if end.over {
			add(end.op())
		}
	}
	return keys
}

// settle makes an operation with an unknown outcome one that took place before the
// first of all heard of it, or none; what was refused for want of room took place
// before that was answered, if it did. It tells nothing of what it met.
func (l *log) settle(o Op) (Op, bool) {
	if o.Outcome != Unknown && o.Outcome != Full {
		return o, o.Outcome == OK
	}
	e, done := l.byValue[o.Value]
	if !done {
		return o, false
	}
	over := max(o.Call, l.told[e.change()])
	if o.Outcome == Full {
		over = min(over, o.Return)
	}
	o.Revision, o.Return, o.Succeeded = e.Revision, over, true
	return o, true
}

// register is the state of a key.
type register struct {
	there bool
	value string
	mod   int64
	// version is 0 when it is not known, after what nobody was told of.
	version int64
	lease   int64
	// revision is the latest of the store that an operation on this key has shown.
	revision int64
}

func model(x hidden) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, _, output any) (bool, any) {
			return state.(register).step(output.(Op), x)
		},
		DescribeOperation: func(_, output any) string {
			s := output.(Op).String()
			return strings.TrimPrefix(s, "#")
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// step says whether an operation can have been answered so, and what is then. Since
// the last one the key may have changed untold: not to what anybody saw or asked to be
// put, for these are operations of their own.
func (r register) step(o Op, x hidden) (bool, register) {
	if o.Revision < r.revision {
		return false, r
	}
	later := o.Revision > r.revision
	upTo := o.Revision
	if o.writes() {
		upTo--
	}
	made, gone := x.put(r.revision, upTo), x.deleted(r.revision, upTo)
	put := register{there: true, value: o.Value, mod: o.Revision, lease: o.Lease, revision: o.Revision}
	switch {
	case made || gone: // it may be any version
	case !r.there:
		put.version = 1
	case r.version > 0:
		put.version = r.version + 1
	}
	none := register{revision: o.Revision}
	switch o.Kind {
	case Put:
		return later, put
	case Delete: // its marker makes it a change in any case
		met := o.Deleted == r.there || o.Deleted && made || !o.Deleted && gone
		return later && (met || o.Outcome != OK), none
	case Revoke:
		return later && r.there && r.lease == o.Lease, none
	case CAS:
		if o.Succeeded {
			met := r.mod == o.Expect || o.Expect == 0 && gone || o.Expect > r.revision && x.put(o.Expect-1, min(o.Expect, upTo))
			return later && met, put
		}
		ok, then := r.seen(o, gone)
		return ok && then.mod != o.Expect, then
	default:
		return r.seen(o, gone)
	}
}

// seen says whether a key can have been read so, and what is known then.
func (r register) seen(o Op, gone bool) (bool, register) {
	seen := o.Seen
	if seen == nil {
		return !r.there || gone, register{revision: o.Revision}
	}
	then := r
	then.revision, then.version = o.Revision, seen.Version
	return r.there && seen.Value == r.value && seen.Mod == r.mod && (seen.Version == r.version || r.version == 0) && seen.Lease == r.lease, then
}
