package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/release"
)

// Releases opens the etcd binaries that can be put on hosts.
type Releases interface {
	Open(ctx context.Context, r cluster.Release) (release.Packed, error)
}

const (
	// stallTimeout is how long a transfer may stand still: how long the whole of
	// it takes is the line's affair.
	stallTimeout = 30 * time.Second
	// settleTimeout is what a host has to unpack, check and sync a release once
	// it has it all, or to compare it with the one it has.
	settleTimeout = 2 * time.Minute
)

// Timeout bounds one step; what it leaves half done is observed afresh.
func Timeout(k plan.Kind) time.Duration {
	if k == plan.InstallEtcd {
		return 2 * time.Hour // it bounds itself by its progress
	}
	if k == plan.TakeSnapshot {
		return time.Hour
	}
	if k == plan.Defragment {
		return defragTimeout
	}
	return 2 * time.Minute
}

// installEtcd puts an etcd binary on each node, once per version: packed, from
// where an interrupted transfer ended, checked by the host itself.
type installEtcd struct{ target }

func (a installEtcd) right(_ cluster.Node, ns cluster.NodeState) bool {
	return slices.Contains(ns.Versions, a.step.Version)
}

func (a installEtcd) work(ctx context.Context, n cluster.Node, h host.Host, ns cluster.NodeState) error {
	if a.x.o.Releases == nil {
		return release.ErrNone
	}
	p, err := a.x.o.Releases.Open(ctx, cluster.Release{Version: a.step.Version, Arch: ns.Arch})
	if err != nil {
		return err
	}
	defer p.Close()
	return a.send(ctx, n, h, p)
}

var errStalled = errors.New("the transfer stands still")

func (a installEtcd) send(ctx context.Context, n cluster.Node, h host.Host, p release.Packed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(settleTimeout, func() { cancel(errStalled) })
	defer watchdog.Stop()

	have, err := h.ReleaseOffset(ctx, p.Info)
	if err != nil || have.Installed {
		return stalled(ctx, err)
	}
	if _, err := p.Seek(have.Offset, io.SeekStart); err != nil {
		return fmt.Errorf("go on at byte %d: %w", have.Offset, err)
	}
	what := "installing etcd " + a.step.Version
	tell := func(done int64) {
		if wait := stallTimeout; done < p.Info.PackedSize {
			watchdog.Reset(wait)
		} else {
			watchdog.Reset(settleTimeout)
		}
		a.x.o.Progress.set(cluster.Progress{Node: n.Hostname, What: what, Done: done, Total: p.Info.PackedSize})
	}
	tell(have.Offset)
	defer a.x.o.Progress.clear(n.Hostname, what)
	body := &counted{r: p, n: have.Offset, tell: tell}
	defer body.end()
	return stalled(ctx, h.PutRelease(ctx, p.Info, have.Offset, body))
}

// stalled says so where that is why a call ended.
func stalled(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: %w", errStalled, err)
	}
	return err
}

// counted tells how much of a transfer has left, until it ends: a transport may
// go on reading for a moment behind an early answer.
type counted struct {
	r    io.Reader
	tell func(int64)

	mu   sync.Mutex
	n    int64
	over bool
}

func (c *counted) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, io.ErrClosedPipe
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}

func (c *counted) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}
