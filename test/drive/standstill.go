package drive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// noteStandstills notes when the machine had no time, for its own processes or its
// disk: whoever asked for something then waited, and it was nobody's doing. It does what
// is needed least, a small write that has reached the disk, over and over.
func (r *Rate) noteStandstills(ctx context.Context) {
	f, err := os.Create(filepath.Join(r.in.Dir, fmt.Sprintf("standstill-%d", r.began.UnixNano())))
	if err != nil {
		r.noStandstills(err)
		return
	}
	block, t := make([]byte, 4<<10), time.NewTicker(standstillLook)
	defer t.Stop()
	for last := time.Now(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		_, err := f.WriteAt(block, 0)
		if err = errors.Join(err, unix.Fdatasync(int(f.Fd()))); err != nil {
			r.noStandstills(err)
			break
		}
		now := time.Now()
		if now.Sub(last) > standstillFrom {
			r.mu.Lock()
			r.still = append(r.still, span{last, now})
			r.mu.Unlock()
		}
		last = now
	}
	if err := f.Close(); err != nil {
		r.noStandstills(err)
	}
}

func (r *Rate) noStandstills(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = append(r.broken, fmt.Errorf("the look-out for standstills: %w", err))
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
