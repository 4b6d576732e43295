package faults

import (
	"context"
	"sync"
)

// gate is what watches go through: shut, it ends them all and lets none begin.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil while it is open
	ends []context.CancelFunc
}

// pass waits until it is open.
func (g *gate) pass(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			ctx, end := context.WithCancel(ctx)
			g.ends = append(g.ends, end)
			g.mu.Unlock()
			return ctx, end
		}
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
			return context.WithCancel(ctx)
		}
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
	for _, end := range g.ends {
		end()
	}
	g.ends = nil
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}
