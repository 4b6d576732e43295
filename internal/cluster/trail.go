package cluster

import "time"

const (
	// ElectionTimeout is etcd's own, which CKE leaves as it is: who is no further
	// behind than that is behind by no more than etcd itself lets pass.
	ElectionTimeout = time.Second
	// trailHolds is how old an observation may be and still be compared with: a
	// look that waits for a silent member takes longer than an election.
	trailHolds = 5 * time.Second
	// trailStep is how far apart observations that are kept are, at least.
	trailStep = 100 * time.Millisecond
)

// Front is how far a cluster's log had come when it was looked at.
type Front struct {
	At    time.Time `json:"at"`
	Term  uint64    `json:"term"`
	Index uint64    `json:"index"`
}

// Trail is where the front was in the last few looks, the oldest first.
type Trail []Front

// With is the trail and one look more. What is too old to be compared with is
// dropped; a look that began before the last one tells nothing new.
func (t Trail) With(f Front) Trail {
	if n := len(t); n > 0 && (f.At.Before(t[n-1].At) || f.At.Sub(t[n-1].At) < trailStep && t[n-1].Term == f.Term) {
		return t
	}
	var kept Trail
	for _, o := range t {
		if f.At.Sub(o.At) <= trailHolds {
			kept = append(kept, o)
		}
	}
	return append(kept, f)
}

// Before is where the front was one election timeout ago: in the last look before
// then or, while there was none, in the first look of all. A second look a moment
// later, as a guard takes it, compares with the same one. Of a term that is younger
// the first look stands for it: more was agreed on by then.
func (t Trail) Before(now time.Time) (Front, bool) {
	var before Front
	found := false
	for _, f := range t {
		age := now.Sub(f.At)
		if age < 0 || age > trailHolds {
			continue
		}
		if found && age < ElectionTimeout {
			break
		}
		before, found = f, true
	}
	if !found {
		return before, false
	}
	last := t[len(t)-1].Term
	for _, f := range t {
		if f.Term == last && f.Term > before.Term && !f.At.After(now) {
			return f, true
		}
	}
	return before, true
}

// Front is how far the log has come: the leader's commit index or, where only its
// peers reach the leader, the highest that a serving voter knows of.
func (e EtcdState) Front(at time.Time) (Front, bool) {
	var f Front
	for _, m := range e.HealthyVoters() {
		if m.Leader {
			return Front{At: at, Term: m.RaftTerm, Index: m.RaftIndex}, true
		}
		if m.RaftTerm > f.Term || m.RaftTerm == f.Term && m.RaftIndex > f.Index {
			f = Front{At: at, Term: m.RaftTerm, Index: m.RaftIndex}
		}
	}
	return f, f.Term > 0
}
