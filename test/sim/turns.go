package sim

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// turns has those that do something at the same instant do it one after another, by
// what they do: the next when nothing comes of the former any more. Else Go's scheduler
// decides who is first, each time another.
type turns struct {
	// quiet waits until nothing moves; nil: everybody goes at once.
	quiet func()
	come  chan struct{}

	mu      sync.Mutex
	over    bool
	waiting []turn
}

// turn is what one waits for who is about to do something.
type turn struct {
	epoch int64 // of the daemon; 0: none
	what  string
	until time.Time // when the daemon's patience is at its end
	goes  chan struct{}
}

func (t turn) compare(o turn) int {
	return cmp.Or(cmp.Compare(t.epoch, o.epoch), cmp.Compare(t.what, o.what), t.until.Compare(o.until))
}

func newTurns(quiet func()) *turns { return &turns{quiet: quiet, come: make(chan struct{}, 1)} }

// take waits for the turn of who does this.
func (t *turns) take(epoch int64, what string, until time.Time) {
	mine := turn{epoch, what, until, make(chan struct{})}
	if t.quiet != nil && t.queue(mine) {
		<-mine.goes
	}
}

func (t *turns) queue(mine turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.waiting = append(t.waiting, mine)
	select {
	case t.come <- struct{}{}:
	default:
	}
	return true
}

// run gives the turns until they end.
func (t *turns) run() {
	for range t.come {
		for {
			t.quiet()
			next, ok := t.next()
			if !ok {
				break
			}
			close(next.goes)
		}
	}
}

func (t *turns) next() (first turn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return turn{}, false
	}
	first = slices.MinFunc(t.waiting, turn.compare)
	t.waiting = slices.DeleteFunc(t.waiting, func(o turn) bool { return o.goes == first.goes })
	return first, true
}

// end lets everybody go.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for _, o := range t.waiting {
		close(o.goes)
	}
	t.waiting = nil
	close(t.come)
}

// turn waits until this daemon may do it.
func (c *CKE) turn(ctx context.Context, what string) {
	until, _ := ctx.Deadline()
	c.w.turns.take(c.epoch, what, until)
}

// turn waits until what is nobody's doing, or a person's, may happen.
func (w *World) turn(what string) { w.turns.take(0, what, time.Time{}) }
