package plan

import (
	"time"

	"cke/internal/cluster"
)

// InSync says whether a member has all but what was written within the last
// election timeout: it has applied what the log held that long ago. A member that
// is up to date is never seen to be level under load, for statuses are read a few
// milliseconds apart; one that lags further is not let off by any share of the
// log, however long that is. An idle log it must have applied to its end.
func InSync(e cluster.EtcdState, m cluster.Member) bool {
	front, ok := e.Front(time.Time{})
	return ok && m.Healthy && m.RaftTerm == front.Term && inSync(e, front, m.RaftApplied)
}

func inSync(e cluster.EtcdState, front cluster.Front, applied uint64) bool {
	return applied >= front.Index || e.Before != nil && e.Before.Term == front.Term && applied >= e.Before.Index
}

// JoinedInSync says so of a member that serves nobody yet, by what its process says
// on its host: etcd serves clients some seconds after a snapshot has made it a member
// like any other. What it has applied was agreed on, in whatever term.
//
// Where its vote makes the quorum no larger, what is on its disk is enough: it answers
// for all of that from now on, and nobody is worse off should it never apply it.
func JoinedInSync(e cluster.EtcdState, m cluster.Member, ns cluster.NodeState) bool {
	front, ok := e.Front(time.Time{})
	u := ns.Unit
	if !ok || !usable(ns) || !ns.AnsweredAt.IsZero() || !m.Started() || u == nil || !u.Running || !u.Sealed || u.DataLost ||
		u.Started == nil || u.Started.Member != m.ID {
		return false
	}
	return u.Applied > 0 && inSync(e, front, u.Applied) || u.Logged > 0 && !raisesQuorum(e) && inSync(e, front, u.Logged)
}

// raisesQuorum: one voter more makes the quorum larger.
func raisesQuorum(e cluster.EtcdState) bool {
	n := len(e.Voters())
	return cluster.Quorum(n+1) > cluster.Quorum(n)
}
