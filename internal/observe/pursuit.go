package observe

import (
	"time"

	"cke/internal/cluster"
)

// pursuit is how near a learner has come to the end of the log, and since when it has
// come no nearer.
type pursuit struct {
	gap   uint64
	since time.Time
}

// nearer is by how much of the gap, one part in so many, a learner must have come
// nearer for it to count: under load the end of the log moves as well.
const nearer = 10

// pursue adds since when each learner has come no nearer. The caller holds the lock.
func (o *Observer) pursue(e *cluster.EtcdState, now time.Time) {
	front, known := e.Front(now)
	next := map[cluster.MemberID]pursuit{}
	for i := range e.Members {
		m := &e.Members[i]
		p, seen := o.pursuits[m.ID]
		if m.Learner && m.Healthy && known {
			gap := front.Index - min(front.Index, m.RaftApplied)
			if !seen || gap < p.gap-p.gap/nearer {
				p, seen = pursuit{gap, now}, true
			}
		}
		if m.Learner && seen {
			next[m.ID], m.BehindSince = p, p.since
		}
	}
	if e.Quorum {
		o.pursuits = next
	}
}
