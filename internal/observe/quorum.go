package observe

import "time"

// quorumMoment is how long there may be no quorum, as while members elect a leader,
// without its being held to anybody's credit.
const quorumMoment = 10 * time.Second

// quorum remembers when there was none.
type quorum struct {
	// lost is since when there is none, again since when there is one after that.
	lost, again time.Time
}

// seen notes whether there is a quorum now, and says since when there has been one
// after more than a moment without.
func (q *quorum) seen(is bool, now time.Time) time.Time {
	switch {
	case !is && q.lost.IsZero():
		q.lost = now
	case is && !q.lost.IsZero():
		if now.Sub(q.lost) >= quorumMoment {
			q.again = now
		}
		q.lost = time.Time{}
	}
	return q.again
}
