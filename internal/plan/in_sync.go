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
	if !ok || !m.Healthy || m.RaftTerm != front.Term {
		return false
	}
	return m.RaftApplied >= front.Index || e.Before != nil && e.Before.Term == front.Term && m.RaftApplied >= e.Before.Index
}
