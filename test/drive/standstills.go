package drive

import (
	"slices"
	"time"
)

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

// Check ends the look-out, and fails the test if the machine stood still most of the
// time: what was measured then says nothing.
func (l *Lookout) Check() {
	t := l.in.T
	t.Helper()
	still := l.end()
	ran := time.Since(l.began)
	if mostlyStill(still, l.began, l.began.Add(ran)) {
		t.Errorf("the machine stood still for so much of %s that the run says nothing: %d times", ran.Round(time.Millisecond), len(still))
	}
	t.Logf("the machine stood still %d times in %s", len(still), ran.Round(time.Millisecond))
}

func (l *Lookout) noted() []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.still)
}
