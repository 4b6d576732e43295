package reconcile

import (
	"time"

	"cke/internal/plan"
)

const (
	// waitMin and waitMax bound how often the loop looks while something that
	// resolves by itself is under way.
	waitMin = 10 * time.Millisecond
	waitMax = time.Second
	// catchUpShare is which part of the time a learner has taken to catch up it may
	// wait then for its vote: nobody can foretell that time, and it is the whole of
	// what a replacement takes.
	catchUpShare = 16
)

// patience is how long a loop that waits for something has done so.
type patience struct {
	wait  time.Duration
	since time.Time // zero: it does not wait
}

// after is how long to wait after a look before the next: twice as long each time,
// and for a learner in proportion to how long it has been waited for.
func (p *patience) after(t turn, err error, now time.Time) time.Duration {
	if err != nil || t.acted || !t.plan.Has(plan.Waiting) {
		*p = patience{wait: waitMin}
		return p.wait
	}
	if p.since.IsZero() {
		p.since = now
	}
	limit := waitMax
	if t.plan.CatchesUp() {
		limit = min(limit, max(waitMin, now.Sub(p.since)/catchUpShare))
	}
	p.wait = min(max(2*p.wait, waitMin), limit)
	return p.wait
}
