// Package history records what the clients of an etcd cluster did and saw, and
// judges it: whether there is one order of all writes that every answer agrees
// with, whether watches tell that order whole and once, whether leases were kept
// as long as was promised, and whether everybody was kept out of what is not
// theirs.
//
// A check finds nothing in a right history, whatever broke meanwhile: what a
// client was not told is taken to have happened, or not, at any later time.
package history

import (
	"slices"
	"time"
)

// Kind is what a client asked for.
type Kind string

// The kinds of operations.
const (
	Put    Kind = "put"
	Get    Kind = "get" // linearizable
	CAS    Kind = "cas" // put if the key's mod revision is Op.Expect, else get
	Delete Kind = "delete"
	// A lease has one key, which is put once, and no other operation changes it.
	Grant     Kind = "grant"
	KeepAlive Kind = "keepalive"
	Revoke    Kind = "revoke"
)

// Outcome is what the client was told.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // certainly not done
	Unknown Outcome = "unknown" // done, or not, or yet to be done
	// Full: refused for want of room (NOSPACE). It is not yet to be done; but etcd may
	// have done it, for a write that it applies when the quota is reached is carried
	// out and answered so (server/etcdserver/apply/quota.go).
	Full Outcome = "full"
)

// Op is one call of a client. Times are since the history's beginning.
type Op struct {
	ID      int           `json:"id"`
	Client  string        `json:"client"`
	Kind    Kind          `json:"kind"`
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return"`
	Outcome Outcome       `json:"outcome"`
	Error   string        `json:"error,omitempty"`

	Key string `json:"key,omitempty"`
	// Value is unique in the history. That of a deletion is put to Marker(Key) in
	// the same transaction, so that each change can be told from all others.
	Value  string        `json:"value,omitempty"`
	Expect int64         `json:"expect,omitempty"` // 0: the key is not there
	Lease  int64         `json:"lease,omitempty"`
	TTL    time.Duration `json:"ttl,omitempty"`

	// What was answered. Revision is the store's at the operation; that of leases
	// says nothing, for etcd looks it up later.
	Revision  int64 `json:"revision,omitempty"`
	Succeeded bool  `json:"succeeded,omitempty"` // of a CAS
	Deleted   bool  `json:"deleted,omitempty"`
	Seen      *KV   `json:"seen,omitempty"` // by a Get or a CAS that did not succeed
}

// KV is a key as it was read.
type KV struct {
	Value   string `json:"value"`
	Create  int64  `json:"create"`
	Mod     int64  `json:"mod"`
	Version int64  `json:"version"`
	Lease   int64  `json:"lease,omitempty"`
}

// writes says whether the operation, once done, has changed a key.
func (o Op) writes() bool {
	return o.Kind == Put || o.Kind == Delete || o.Kind == CAS && (o.Outcome != OK || o.Succeeded)
}

// Event is a change of one key, as a watch tells it.
type Event struct {
	Revision int64         `json:"revision"`
	Key      string        `json:"key"`
	Value    string        `json:"value,omitempty"`
	Deleted  bool          `json:"deleted,omitempty"`
	Lease    int64         `json:"lease,omitempty"`
	Version  int64         `json:"version,omitempty"`
	At       time.Duration `json:"at"` // when it arrived
}

// Watch is everything a client was told about a prefix, over all streams that it
// had to open for that.
type Watch struct {
	Client string  `json:"client"`
	Prefix string  `json:"prefix"`
	From   int64   `json:"from"` // the first revision asked for
	Events []Event `json:"events"`
	// Gaps are what etcd said it cannot tell any more, as it was compacted away.
	Gaps    []Gap `json:"gaps,omitempty"`
	Streams int   `json:"streams"`
	// Ends is what etcd said when it ended a stream, and how often.
	Ends map[string]int `json:"ends,omitempty"`
}

// Gap are revisions, the last included.
type Gap struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

func (g Gap) has(revision int64) bool { return g.From <= revision && revision <= g.To }

func within(gaps []Gap, revision int64) bool {
	return slices.ContainsFunc(gaps, func(g Gap) bool { return g.has(revision) })
}

// Attempt is what somebody tried with another's keys.
type Attempt struct {
	Client  string        `json:"client"`
	What    string        `json:"what"`
	At      time.Duration `json:"at"`
	Verdict Verdict       `json:"verdict"`
	Detail  string        `json:"detail,omitempty"`
}

// Verdict is what came of an attempt.
type Verdict string

// The verdicts. An attempt that met trouble on its way says nothing.
const (
	Kept    Verdict = "kept out"
	LetIn   Verdict = "let in"
	Nothing Verdict = "no answer"
)

// Window is a time in which every client is to have been served.
type Window struct {
	Name string        `json:"name"`
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// History is a whole run.
type History struct {
	Seed     uint64    `json:"seed"`
	Ops      []Op      `json:"ops"`
	Watches  []Watch   `json:"watches"`
	Attempts []Attempt `json:"attempts"`
	Windows  []Window  `json:"windows"`
	// Stalls are times in which a member stood still, or nearly.
	Stalls []Window `json:"stalls,omitempty"`
	// Log is what etcd tells somebody who does not write about all clients' prefixes.
	// Holes are what was compacted away before it was asked for.
	Log   []Event `json:"log"`
	Holes []Gap   `json:"holes,omitempty"`
	// Compactions are the revisions up to which somebody is known to have dropped
	// history; one of several where it is not known which.
	Compactions []Gap `json:"compactions,omitempty"`
	// First and Last are the store's revisions before and after.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// Marker is the key that a deletion puts.
func Marker(key string) string { return key + markerSuffix }

const markerSuffix = "#deleted"
