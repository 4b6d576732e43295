package kube

import (
	"math/rand/v2"
	"time"
)

const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	// Whoever is sent to a dead member waits for what CKE tells of it, and an API server
	// whose etcd elects a leader refuses all for a while. So about endpoints it is asked
	// once a second at least for as long as that may take.
	eagerRetry = time.Second
	eagerTimes = 20
	firstFight = time.Second
	// peaceAfter is how long nothing must have been undone until a repair is the
	// first again.
	peaceAfter = time.Minute
)

// retry spaces attempts that fail: 0.5 s to 30 s, doubled, with jitter so that
// many objects do not ask at the same time. The first of eager ones are eagerRetry
// apart at most.
type retry struct {
	eager    int
	failures int
	next     time.Time
}

func (r *retry) failed(now time.Time) {
	d := min(firstRetry<<min(r.failures, 10), eagerRetry)
	if late := r.failures - r.eager; late >= 0 {
		d = min(firstRetry<<min(late, 10), lastRetry)
	}
	r.failures++
	r.next = now.Add(d/2 + rand.N(d/2+1)) //nolint:gosec // jitter is no secret
}

func (r *retry) worked() { *r = retry{eager: r.eager} }

// hurry lets the next attempt come at once, and the one after it soon.
func (r *retry) hurry() { r.worked() }

// wait is how long the next attempt is off.
func (r *retry) wait(now time.Time) time.Duration { return max(0, r.next.Sub(now)) }

// fight spaces repairs of what somebody undoes again and again: the first at
// once, the next after 1 s, 2 s, … 30 s.
type fight struct {
	repairs int
	last    time.Time
}

func (f *fight) wait(now time.Time) time.Duration {
	if f.over(now) {
		return 0
	}
	gap := min(firstFight<<min(f.repairs-1, 10), lastRetry)
	return max(0, f.last.Add(gap).Sub(now))
}

// over says whether nothing was undone for long enough.
func (f *fight) over(now time.Time) bool {
	return f.repairs == 0 || now.Sub(f.last) >= peaceAfter
}

func (f *fight) repaired(now time.Time) {
	if f.over(now) {
		f.repairs = 0
	}
	f.repairs++
	f.last = now
}
