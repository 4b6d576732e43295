package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// flight is the steps under way. Only the loop's own goroutine begins any.
type flight struct {
	wg sync.WaitGroup
	// landed delivers when a step, or a node of it, has been seen to.
	landed chan struct{}

	mu    sync.Mutex
	steps []*underWay // in the order they were begun
	err   error       // of the store, while writing records
}

type underWay struct {
	plan.UnderWay
	done chan struct{}
}

func newFlight() *flight { return &flight{landed: make(chan struct{}, 1)} }

// begin carries a step out beside the others.
func (f *flight) begin(s plan.Step, do func(finished func(cluster.NodeName)) error) *underWay {
	u := &underWay{plan.UnderWay{Step: s, Busy: s.Nodes}, make(chan struct{})}
	f.mu.Lock()
	f.steps = append(f.steps, u)
	f.mu.Unlock()
	f.wg.Go(func() {
		err := do(func(n cluster.NodeName) { f.finish(u, n) })
		f.mu.Lock()
		f.steps = slices.DeleteFunc(f.steps, func(o *underWay) bool { return o == u })
		if err != nil {
			f.err = err
		}
		f.mu.Unlock()
		f.land() // before whoever waits for this step looks again, which takes it in
		close(u.done)
	})
	return u
}

func (f *flight) finish(u *underWay, n cluster.NodeName) {
	f.mu.Lock()
	u.Busy = slices.DeleteFunc(slices.Clone(u.Busy), func(b cluster.NodeName) bool { return b == n })
	f.mu.Unlock()
	f.land()
}

func (f *flight) land() {
	select {
	case f.landed <- struct{}{}:
	default:
	}
}

// fresh is what is under way as a look begins, which will see whatever has landed
// by now.
func (f *flight) fresh() []plan.UnderWay {
	select {
	case <-f.landed:
	default:
	}
	return f.now()
}

// now is what is under way.
func (f *flight) now() []plan.UnderWay {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []plan.UnderWay
	for _, u := range f.steps {
		all = append(all, u.UnderWay)
	}
	return all
}

// takeErr returns the store's error since it was last asked.
func (f *flight) takeErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	f.err = nil
	return err
}

// stepPatience is how long the loop waits for steps it has begun before it looks
// at what else there is to do. Most need less.
const stepPatience = 300 * time.Millisecond

// movePatience is how long while leadership moves: what a look asks of every machine
// just then would hold the members up in the very moment in which they lose writes.
const movePatience = 2 * time.Second

// rest waits for the steps just begun, but not for slow ones.
func (f *flight) rest(ctx context.Context, begun []*underWay) {
	patience := stepPatience
	if slices.ContainsFunc(begun, func(u *underWay) bool { return u.Step.Kind == plan.MoveLeader }) {
		patience = movePatience
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	for _, u := range begun {
		select {
		case <-u.done:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (f *flight) wait() { f.wg.Wait() }
