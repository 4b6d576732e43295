package history

import (
	"cmp"
	"slices"
	"time"
)

// end is how a lease ended: with a revocation or because nobody kept it alive,
// which etcd does not tell apart.
type end struct {
	lease int64
	key   string
	put   Event // of its key
	over  bool  // the key is gone, by event
	event Event
	// untold: the key may be gone without anybody having been told; gone: then it is,
	// by what was answered.
	untold, gone bool
	there        Op // the latest read that found it
	// The lease was promised to last until then, if it was not revoked before.
	promised time.Duration
	promises []Op
	revoked  []Op
	// earliest and latest are when it can have ended.
	earliest, latest time.Duration
}

func (e end) op() Op {
	return Op{
		Client: "etcd", Kind: Revoke, Key: e.key, Lease: e.lease, Outcome: OK, Revision: e.event.Revision,
		Call: min(e.earliest, e.latest), Return: e.latest,
	}
}

// ends are the leases whose keys were put.
//
// A lease is promised for its TTL from the call on that granted it or kept it
// alive: etcd counts from when it answers, which is later, and a new leader begins
// to count anew. What was not answered may have kept it alive and promises nothing.
// Nor does what was answered since a member stood still, for a while: if it was the
// leader, it goes on as such for a moment afterwards, and has leases revoked that
// have run out in its view, whatever the next leader promised meanwhile (etcd issue
// 15247, of which this is left: see ensureLeadership).
func ends(h History, l *log) []end {
	byLease := map[int64]*end{}
	for _, events := range l.byKey {
		for i, e := range events {
			if e.Lease == 0 || e.Deleted {
				continue
			}
			found := &end{lease: e.Lease, key: e.Key, put: e}
			if i+1 < len(events) && events[i+1].Deleted {
				found.over, found.event = true, events[i+1]
				found.latest = l.told[events[i+1].change()]
			}
			if i+1 == len(events) {
				found.untold, found.latest = l.hidden[e.Key].deleted(e.Revision, always), always
			}
			byLease[e.Lease] = found
		}
	}
	wereRead(h, byLease)
	for _, o := range h.Ops {
		e := byLease[o.Lease]
		if e == nil {
			continue
		}
		switch {
		case (o.Kind == Grant || o.Kind == KeepAlive) && o.Outcome == OK:
			e.promises = append(e.promises, o)
		case o.Kind == Revoke && o.Outcome != Refused:
			e.revoked = append(e.revoked, o)
			if o.Outcome == OK {
				e.gone = true
				e.latest = min(e.latest, o.Return)
			}
		}
	}
	var all []end
	for _, e := range byLease {
		e.untold = e.untold && l.hidden[e.key].deleted(e.there.Revision, always)
		e.gone = e.gone && e.untold
		for _, o := range e.promises {
			if !e.overruled(o, h.Stalls) {
				e.promised = max(e.promised, o.Call+o.TTL)
			}
		}
		e.earliest = e.promised
		for _, o := range e.revoked {
			e.earliest = min(e.earliest, o.Call)
		}
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b end) int { return cmp.Compare(a.put.Revision, b.put.Revision) })
	return all
}

// wereRead has each end that nobody was told of know when its key was read.
func wereRead(h History, byLease map[int64]*end) {
	byKey := map[string]*end{}
	for _, e := range byLease {
		if e.untold {
			byKey[e.key] = e
		}
	}
	for _, o := range h.Ops {
		e := byKey[o.Key]
		switch {
		case e == nil || o.Kind != Get || o.Outcome != OK || o.Revision < e.put.Revision:
		case o.Seen == nil:
			e.gone, e.latest = true, min(e.latest, o.Return)
		case o.Revision >= e.there.Revision:
			e.there = o
		}
	}
}

// afterStall is how long after it stood still a member may act on what it knew.
const afterStall = 10 * time.Second

// overruled: a member that did not hear of the promise can have ended the lease.
func (e end) overruled(promise Op, stalls []Window) bool {
	since := e.latest
	if e.untold {
		since = e.there.Call
	}
	return slices.ContainsFunc(stalls, func(s Window) bool {
		return promise.Return >= s.From && s.From <= e.latest && since <= s.To+afterStall
	})
}

// leases checks that no key went before its lease's time, and that none outlives
// its lease. The clients keep no lease alive when the history ends, and the last
// thing they do is to wait for the leases' keys to go.
func leases(h History, l *log) []Violation {
	v := list{check: "leases"}
	for _, e := range ends(h, l) {
		stays := !e.over && !e.untold
		switch {
		case e.gone && e.there.Call > e.latest:
			v.add("%s is there, and its lease %x had ended: %s", e.put, e.lease, e.there)
		case stays && len(e.revoked) > 0:
			v.add("%s stays, and its lease was revoked: %s", e.put, e.revoked[0])
		case stays:
			v.add("%s stays, and nobody keeps its lease %x alive", e.put, e.lease)
		case e.latest < e.earliest:
			v.add("%s was gone at %s, and its lease %x was promised until %s", e.put, e.latest, e.lease, e.promised)
		}
	}
	return v.found
}
