package drive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Standstills are the times in which this machine had no time, for its own processes or
// its disk, for whoever measures something else than a Rate.
type Standstills struct {
	rate   Rate // that asks for nothing
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NoteStandstills looks out for them until the test ends.
func (in *Installation) NoteStandstills() *Standstills {
	in.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Standstills{rate: Rate{in: in, began: time.Now()}, cancel: cancel}
	s.wg.Go(func() { s.rate.noteStandstills(ctx) })
	in.T.Cleanup(s.End)
	return s
}

// Near says whether something went on when the machine stood still, or right after it.
func (s *Standstills) Near(began, end time.Time) bool { return near(s.noted(), began, end) }

// During is for how much of a time it stood still.
func (s *Standstills) During(from, to time.Time) time.Duration {
	still := time.Duration(0)
	for _, one := range s.noted() {
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

func (s *Standstills) noted() []span {
	s.rate.mu.Lock()
	defer s.rate.mu.Unlock()
	return slices.Clone(s.rate.still)
}

// Check fails the test if they were not looked out for, or were most of the time: what
// was measured then says nothing.
func (s *Standstills) Check() {
	t := s.rate.in.T
	t.Helper()
	still := s.noted()
	s.rate.mu.Lock()
	defer s.rate.mu.Unlock()
	if err := errors.Join(s.rate.broken...); err != nil {
		t.Error(err)
	}
	ran := time.Since(s.rate.began)
	if mostlyStill(still, s.rate.began, s.rate.began.Add(ran)) {
		t.Errorf("the machine stood still for so much of %s that the run says nothing: %d times", ran.Round(time.Millisecond), len(still))
	}
	t.Logf("the machine stood still %d times in %s", len(still), ran.Round(time.Millisecond))
}

// End ends the look-out.
func (s *Standstills) End() {
	s.cancel()
	s.wg.Wait()
}
