package kube

import (
	"context"
	"sync"
	"time"
)

// insist asks again each interval while no answer comes, and takes the first that
// does, whatever it is. Nothing of it goes on afterwards. What do does twice must
// come to the same as once.
func insist[T any](ctx context.Context, every time.Duration, do func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	first := make(chan answer, 1)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		asked.Go(func() {
			value, err := do(ctx)
			select {
			case first <- answer{value, err}:
			default: // another was the first
			}
		})
		select {
		case a := <-first:
			return a.value, a.err
		case <-again.C:
		}
	}
}
