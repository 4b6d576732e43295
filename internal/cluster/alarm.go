package cluster

import (
	"slices"
	"time"
)

// The alarms etcd raises. While one is up, every member refuses what could make
// it worse: with NOSPACE what grows the database, with CORRUPT every write.
const (
	AlarmNoSpace = "NOSPACE"
	AlarmCorrupt = "CORRUPT"
)

// Alarm is one that etcd has raised and nobody has disarmed.
type Alarm struct {
	// Member is whom it is about; 0 when etcd cannot tell.
	Member MemberID `json:"member,omitzero"`
	Kind   string   `json:"kind"`
}

// Alarmed says whether an alarm of this kind is up.
func (e EtcdState) Alarmed(kind string) bool {
	return slices.ContainsFunc(e.Alarms, func(a Alarm) bool { return a.Kind == kind })
}

// Compaction is how much of its history a cluster still keeps. It is looked at
// only while an alarm NOSPACE is up.
type Compaction struct {
	// Revision is the newest; what is older than Compacted is gone.
	Revision  int64 `json:"revision"`
	Compacted int64 `json:"compacted"`
	// Since is when Compacted was first seen to be what it is; zero when it has
	// been so since it was first looked at.
	Since time.Time `json:"since,omitzero"`
}

// PrefixUsage is how much of a database lies under one prefix.
type PrefixUsage struct {
	Prefix string `json:"prefix"`
	Keys   int64  `json:"keys"`
	// Bytes is an estimate, from the size of some of the keys and values.
	Bytes int64 `json:"bytes"`
}

// Growth is how fast the data grows, as seen since this cke began to look.
type Growth struct {
	// PerDay is in bytes; negative when the data shrinks.
	PerDay float64       `json:"per_day"`
	Over   time.Duration `json:"over"`
}

// DefragRequest is a person's wish that a node's member be defragmented now.
type DefragRequest struct {
	Node NodeName  `json:"node"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}
