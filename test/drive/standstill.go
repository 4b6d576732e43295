package drive

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// standstillLook is between two small writes of the look-out for standstills.
	standstillLook = 20 * time.Millisecond
	// standstillFrom is how long one may take on a machine that has the time: several
	// times what a write to a busy disk takes.
	standstillFrom = 250 * time.Millisecond
	// afterStandstill is how long what was asked meanwhile may take to be through.
	afterStandstill = 2 * time.Second
)

// Lookout notes when the machine had no time, for its own processes or its disk: whoever
// asked for something then waited, and it was nobody's doing.
type Lookout struct {
	in     *Installation
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	still  []span // in their order
	err    error
}

// LookOut begins to look out, until it is ended or the test is. It does what is needed
// least, a small write that has reached the disk, over and over.
func (in *Installation) LookOut() *Lookout {
	in.T.Helper()
	f, err := os.CreateTemp(in.Dir, "standstill-")
	if err != nil {
		in.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Lookout{in: in, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.err = errors.Join(l.look(ctx, f), f.Close())
	}()
	in.T.Cleanup(func() { cancel(); <-l.done })
	return l
}

func (l *Lookout) look(ctx context.Context, f *os.File) error {
	block, t := make([]byte, 4<<10), time.NewTicker(standstillLook)
	defer t.Stop()
	for last := time.Now(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		if _, err := f.WriteAt(block, 0); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		now := time.Now()
		if now.Sub(last) > standstillFrom {
			l.mu.Lock()
			l.still = append(l.still, span{last, now})
			l.mu.Unlock()
		}
		last = now
	}
	return nil
}

// end looks out no more, and says when the machine stood still.
func (l *Lookout) end() []span {
	l.in.T.Helper()
	l.cancel()
	<-l.done
	if l.err != nil {
		l.in.T.Errorf("the look-out for standstills: %v", l.err)
	}
	return l.still
}

// StoodStill ends the look-out and says whether the machine ever stood still for so long:
// members may have elected a leader then, and steps of CKE's have failed and been taken
// again, although nobody did anything wrong.
func (l *Lookout) StoodStill(long time.Duration) bool {
	l.in.T.Helper()
	longest := time.Duration(0)
	for _, s := range l.end() {
		longest = max(longest, s.to.Sub(s.from))
	}
	if longest < long {
		return false
	}
	l.in.T.Logf("the machine stood still for %s", longest.Round(time.Millisecond))
	return true
}

// span is a time of the machine's own.
type span struct{ from, to time.Time }

// waitedOut says whether a request that was answered late, or not in its time, was under
// way when the machine stood still.
func (a asked) waitedOut(still []span) bool {
	return (a.err == nil || errors.Is(a.err, context.DeadlineExceeded)) && near(still, a.began, a.end)
}

// near says whether something went on when the machine stood still, or right after it.
func near(still []span, began, end time.Time) bool {
	return slices.ContainsFunc(still, func(s span) bool {
		return end.After(s.from) && began.Before(s.to.Add(afterStandstill))
	})
}

// mostlyStill says that what a standstill excuses is most of a run, which then says
// nothing.
func mostlyStill(still []span, began, ended time.Time) bool {
	excused, upTo := time.Duration(0), began
	for _, s := range still { // in their order
		from, to := s.from, s.to.Add(afterStandstill)
		if from.Before(upTo) {
			from = upTo
		}
		if to.After(ended) {
			to = ended
		}
		if to.After(from) {
			excused, upTo = excused+to.Sub(from), to
		}
	}
	return 2*excused > ended.Sub(began)
}
