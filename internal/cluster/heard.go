package cluster

import "time"

// Heard is the last that is known of the data on a node's host. It outlives the
// host's silence, and is forgotten with the daemon.
type Heard struct {
	Member MemberID `json:"member"`
	// Bytes is the size of the member's data when the host last told it, at At.
	Bytes int64     `json:"bytes"`
	At    time.Time `json:"at"`
	// Lost: the host said then that the data is gone.
	Lost bool `json:"lost,omitempty"`
	// RaftIndex is how far the member's log was committed, to its knowledge, when
	// it was last asked, at AskedAt; zero when it never answered.
	RaftIndex uint64    `json:"raft_index,omitempty"`
	RaftTerm  uint64    `json:"raft_term,omitempty"`
	AskedAt   time.Time `json:"asked_at,omitzero"`
}
