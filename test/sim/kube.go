package sim

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"cke/internal/cluster"
)

// publication is what Kubernetes was told, and sends clients by.
type publication struct {
	wanted bool
	away   bool // it can be told nothing
	ready  []netip.Addr
	// at is when it was told last. What a daemon told it a moment before it may not
	// have heard yet.
	at time.Time
}

// How long it takes to be told something.
const (
	publishLeast = 5 * time.Millisecond
	publishMost  = 150 * time.Millisecond
)

// published is what a daemon knows of it.
func (c *CKE) published() cluster.Published {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p := cluster.Published{Wanted: w.kube.wanted, Ready: slices.Clone(w.kube.ready)}
	if w.kube.away {
		p.Trouble = "it does not answer"
	}
	return p
}

// publish tells it of each view soon after, until ctx ends.
func (c *CKE) publish(ctx context.Context) {
	w := c.w
	for ctx.Err() == nil {
		v, changed := c.loop.View()
		if c.pass(ctx, "publish", "publish", publishLeast, publishMost) != nil {
			return
		}
		var ready []netip.Addr
		for _, e := range v.Endpoints {
			if e.Ready {
				ready = append(ready, e.Address)
			}
		}
		news := false
		w.mu.Lock()
		w.advance()
		if !w.kube.away && !c.dead && c.deposed.IsZero() && len(ready) > 0 && !slices.Equal(ready, w.kube.ready) {
			w.kube.ready, w.kube.at, news = ready, w.raft.at, true
			w.logf("kubernetes: %v are ready", ready)
		}
		w.mu.Unlock()
		if news {
			c.loop.Wake()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// offered: Kubernetes sends clients to this machine's member, could be told
// otherwise, and there are others to send them to.
func (w *World) offered(m *machine) bool {
	return w.kube.wanted && !w.kube.away && slices.Contains(w.kube.ready, m.node.Address) && len(w.kube.ready) > 1 && w.raft.at.Sub(w.kube.at) > publishMost
}
