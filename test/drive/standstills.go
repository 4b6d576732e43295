package drive

import (
	"slices"
	"time"
)

// noted are the standstills so far, while it looks out.
func (l *Lookout) noted() []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.still)
}

// Near says whether something went on when the machine stood still, or right after it.
func (l *Lookout) Near(began, end time.Time) bool { return near(l.noted(), began, end) }

// During is for how much of a time it stood still.
func (l *Lookout) During(from, to time.Time) time.Duration {
	still := time.Duration(0)
	for _, one := range l.noted() {
		begin, end := one.from, one.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		still += max(0, end.Sub(begin))
	}
	return still
}

// Each tells of each standstill that took so long.
func (l *Lookout) Each(long time.Duration, tell func(from, to time.Time)) {
	for _, one := range l.noted() {
		if one.to.Sub(one.from) >= long {
			tell(one.from, one.to)
		}
	}
}

// Longest is the longest standstill since then.
func (l *Lookout) Longest(since time.Time) time.Duration {
	longest := time.Duration(0)
	for _, one := range l.noted() {
		if one.to.After(since) {
			longest = max(longest, one.to.Sub(one.from))
		}
	}
	return longest
}

// Check ends the look-out and fails the test if what it excuses is most of the time since
// then: what was measured says nothing.
func (l *Lookout) Check(since time.Time) {
	t := l.in.T
	t.Helper()
	still, now := l.end(), time.Now()
	if mostlyStill(still, since, now) {
		t.Errorf("the machine stood still for so much of %s that the run says nothing: %d times", now.Sub(since).Round(time.Millisecond), len(still))
	}
	t.Logf("the machine stood still %d times in %s", len(still), now.Sub(since).Round(time.Millisecond))
}
