package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/reconcile"
)

// CKE is one daemon: the real loop, observer and executor.
type CKE struct {
	w        *World
	epoch    int64
	skew     time.Duration // of its clock
	loop     *reconcile.Loop
	observer *observe.Observer
	cancel   context.CancelFunc
	ending   sync.WaitGroup
	ended    sync.Once

	// Under the world's lock.
	dead   bool
	frozen chan struct{} // closed when it goes on; nil while it does
	// changing is how many calls that change the membership are under way.
	changing int
	// lives is how many more effects it lives for; negative: all.
	lives int
	// diesAfter is in the name of the effect that it is killed after, wherever that comes;
	// empty: none.
	diesAfter string
	// deposed is when a newer one began; sent is when what it does now was asked.
	deposed, sent time.Time
	stopped       time.Time // when it stood still last
	// still is when it stood still last and went on again.
	still struct{ from, to time.Time }
	deeds deeds
	// stallsIn is how many more calls it makes before it stands still; 0: it does not.
	stallsIn int
}

var errKilled = errors.New("this cke is dead")

// Begin starts a daemon, as the newest leader.
func (w *World) Begin() *CKE {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begin()
}

func (w *World) begin() *CKE {
	w.advance()
	for _, c := range w.ckes {
		if c.deposed.IsZero() {
			c.deposed = w.raft.at
		}
	}
	w.shelf.epoch++
	c := &CKE{w: w, epoch: w.shelf.epoch, lives: -1, deeds: newDeeds(), skew: w.skew}
	w.tellsTime(c)
	log := slog.New(slog.DiscardHandler)
	now := func() time.Time { return time.Now().Add(c.skew) }
	e := client{c}
	c.observer = observe.New(observe.Options{
		Hosts: c, Etcd: e, Authority: w.authority.pki, Identity: c.identity, Releases: w.releases, Published: c.published, Now: now, Log: log,
	})
	c.loop = reconcile.New(reconcile.Options{
		Cluster: w.o.Cluster, Store: store{c}, Observer: c.observer, Etcd: e, Hosts: c,
		Executor: execute.New(execute.Options{
			Cluster: w.o.Cluster, Store: store{c}, Hosts: c, Etcd: e, Observer: c.observer, Authority: w.authority.pki,
			Releases: w, Snapshots: w.snapshots, Token: w.token, Now: now, Log: log, Wants: store{c}.wants,
		}),
		Epoch: c.epoch, Interval: w.o.Interval, Now: now, Log: log,
	})
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	w.ckes = append(w.ckes, c)
	w.kube.wanted = w.o.Published
	w.logf("cke %d begins", c.epoch)
	c.ending.Go(func() { c.loop.Run(ctx) })
	if w.o.Published {
		c.ending.Go(func() { c.publish(ctx) })
	}
	return c
}

// Loop is its loop.
func (c *CKE) Loop() *reconcile.Loop { return c.loop }

// Epoch is its leader epoch.
func (c *CKE) Epoch() int64 { return c.epoch }

// End stops it and returns when nothing of it runs.
func (c *CKE) End() { c.end() }

func (c *CKE) end() {
	c.w.mu.Lock()
	c.kill()
	c.w.mu.Unlock()
	c.ended.Do(func() {
		c.ending.Wait()
		c.observer.Close()
	})
}

// kill ends it at once: nothing it has asked for and that has not happened yet
// ever will. The caller holds the lock.
func (c *CKE) kill() {
	if c.dead {
		return
	}
	c.w.logf("cke %d is killed", c.epoch)
	c.dead = true
	if c.frozen != nil {
		close(c.frozen)
		c.frozen = nil
	}
	c.cancel()
}

// freeze stops it in the middle of whatever it does, as SIGSTOP would. The caller
// holds the lock.
func (c *CKE) freeze() {
	if c.frozen == nil && !c.dead {
		c.w.logf("cke %d stands still", c.epoch)
		c.frozen, c.stopped = make(chan struct{}), c.w.raft.at
	}
}

func (c *CKE) resume() {
	if c.frozen != nil {
		c.w.logf("cke %d goes on", c.epoch)
		close(c.frozen)
		c.frozen = nil
		c.still.from, c.still.to = c.stopped, time.Now()
	}
}

// token is of a founding.
func (w *World) token() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strconv.FormatUint(w.chance("token").Uint64(), 16)
}

func (c *CKE) identity() host.Identity { return host.Identity{StoreID: storeID, Epoch: c.epoch} }

const storeID = "store"

// until is the moment that no change in etcd may outlive. A daemon that runs
// renews its lead all the time.
func (c *CKE) until() time.Time {
	if c.frozen != nil || !c.deposed.IsZero() {
		return c.stopped.Add(leaseTime - leaseMargin)
	}
	return time.Now().Add(leaseTime - leaseMargin)
}

// enter lets a call begin, unless the daemon is dead.
func (c *CKE) enter(ctx context.Context, what string) error {
	c.turn(ctx, what)
	c.count()
	if err := c.thaw(ctx, what); err != nil {
		return err
	}
	return ctx.Err()
}

// thaw waits while the daemon stands still.
func (c *CKE) thaw(ctx context.Context, what string) error {
	for {
		c.w.mu.Lock()
		dead, frozen := c.dead, c.frozen
		c.w.mu.Unlock()
		switch {
		case dead:
			return errKilled
		case frozen == nil:
			return nil
		}
		// It notices the end of its own patience only when it goes on.
		<-frozen
		c.turn(ctx, what)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// wait is more of the same question.
func (c *CKE) wait(ctx context.Context, d time.Duration, what string) error {
	if err := c.enter(ctx, what); err != nil {
		return err
	}
	if err := c.sleep(ctx, d, what); err != nil {
		return err
	}
	return c.thaw(ctx, what)
}

func (c *CKE) gone() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.dead
}

func (c *CKE) sleep(ctx context.Context, d time.Duration, what string) error {
	t := time.NewTimer(d)
	defer t.Stop()
	defer c.turn(ctx, what)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass lets a question take its time, which is a draw of that name.
func (c *CKE) pass(ctx context.Context, what, draw string, least, most time.Duration) error {
	if err := c.enter(ctx, what); err != nil {
		return err
	}
	c.w.mu.Lock()
	d := c.w.between(draw, least, most)
	c.w.mu.Unlock()
	if err := c.sleep(ctx, d, what); err != nil {
		return err
	}
	return c.thaw(ctx, what)
}

// effect is one change of the world by this daemon, and the judgement of it. The
// caller holds the lock.
func (c *CKE) effect(what string, do func() error) error {
	w := c.w
	served := w.canServe()
	err := do()
	w.settle()
	w.logf("cke %d: %s: %s", c.epoch, what, orDone(err))
	w.effects++
	defer func() { w.interrupts = false }()
	if served && !w.canServe() && !w.interrupts && !w.fellLately() {
		w.violate("quorumIsKept", "%s costs the cluster its quorum", what)
	}
	if err == nil && !c.deposed.IsZero() && c.sent.After(c.deposed) {
		w.judgeDeposed(c, what)
	}
	w.inspect()
	if c.lives > 0 {
		c.lives--
	}
	if c.lives == 0 || err == nil && c.diesAfter != "" && strings.Contains(what, c.diesAfter) {
		c.kill()
		return errKilled
	}
	return err
}

func orDone(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}

// Host implements observe.Hosts.
func (c *CKE) Host(n cluster.Node) (host.Host, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	m := c.w.at(n)
	if m == nil {
		return nil, fmt.Errorf("dial %s: no route to host", n.Address)
	}
	return channel{Host: nil, c: c, m: m}, nil
}
