// Package reconcile turns the wheel: load what is wanted, observe, decide,
// carry out one step, record it, and look again. One loop cares for one
// cluster; a sick cluster costs the others nothing.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/execute"
	"cke/internal/observe"
	"cke/internal/plan"
	"cke/internal/record"
)

// Wanted is what the store says, with the spec's revision.
type Wanted struct {
	observe.Wanted
	Revision int64
}

// Store is what a loop reads and writes.
type Store interface {
	Load(ctx context.Context, name string) (Wanted, error)
	Append(ctx context.Context, r record.Record) (record.Record, error)
	Amend(ctx context.Context, r record.Record) error
}

// Options for New.
type Options struct {
	Cluster  string
	Store    Store
	Observer *observe.Observer
	Executor *execute.Executor
	Etcd     *etcd.Client
	Hosts    observe.Hosts
	Epoch    int64
	Interval time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

// View is what the loop saw and decided last.
type View struct {
	Wanted Wanted
	State  cluster.State
	Plan   plan.Plan
	// Seq grows with each view.
	Seq int64
}

// Loop cares for one cluster.
type Loop struct {
	o        Options
	wake     chan struct{}
	failures *failures
	again    repetition
	exits    exitWatch

	mu      sync.Mutex
	view    View
	changed chan struct{} // closed and replaced with each view
}

// New returns a loop that has not started.
func New(o Options) *Loop {
	l := &Loop{o: o, wake: make(chan struct{}, 1), changed: make(chan struct{}), failures: newFailures()}
	l.exits = exitWatch{hosts: o.Hosts, cluster: o.Cluster, wake: l.Wake, watched: map[cluster.NodeName]struct{}{}}
	return l
}

// Wake makes the loop look now.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// View returns the newest view and a channel that is closed when there is a
// newer one. Its Seq is 0 before the first.
func (l *Loop) View() (View, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view, l.changed
}

// Run cares until ctx ends. It returns when nothing of it is left running.
func (l *Loop) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.watchHealth(ctx) })
	defer wg.Wait()
	defer l.exits.wait()
	patience := waitMin
	for ctx.Err() == nil {
		acted, p, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.o.Log.Error("reconcile", "err", err)
		}
		switch {
		case err == nil && acted:
			patience = waitMin
			continue
		case err == nil && p.Has(plan.Waiting):
			patience = min(patience*2, waitMax)
		default:
			patience = waitMin
		}
		l.again = repetition{}
		l.sleep(ctx, l.pause(p, err, patience))
	}
}

const (
	// waitMin and waitMax bound how often the loop looks while something that
	// resolves by itself is under way.
	waitMin = 10 * time.Millisecond
	waitMax = time.Second
)

// pause is how long to wait until the next look.
func (l *Loop) pause(p plan.Plan, err error, patience time.Duration) time.Duration {
	d := l.o.Interval
	if err == nil && p.Has(plan.Waiting) {
		d = min(d, patience)
	}
	if next, ok := l.failures.next(l.o.Now()); ok {
		d = min(d, next)
	}
	return d
}

func (l *Loop) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-l.wake:
	}
}

// once looks, decides and carries out what can be done at once.
func (l *Loop) once(ctx context.Context) (bool, plan.Plan, error) {
	w, st, p, err := l.Look(ctx)
	if err != nil {
		return false, plan.Plan{}, err
	}
	now := l.o.Now()
	l.failures.forgetAllBut(p)
	l.failures.noticeEnded(p, now)
	runnable, shown := l.failures.holdBack(p, now)
	l.publish(w, st, shown)
	l.exits.follow(ctx, w.Nodes(), st)
	if len(runnable) == 0 {
		return false, shown, nil
	}
	batch := plan.NextBatch(runnable)
	if n := l.again.count(batch); n > maxRepeats {
		for _, s := range batch {
			err := fmt.Errorf("%s was done %d times and the plan still asks for it", s.Kind, n-1)
			l.failures.fail(s, err, record.Record{Step: &s, Cluster: l.o.Cluster, By: "rule", Outcome: record.Failed, Error: err.Error()}, now)
		}
		return true, shown, nil
	}
	return true, shown, l.carryOutAll(ctx, w, batch)
}

func (l *Loop) carryOutAll(ctx context.Context, w Wanted, batch []plan.Step) error {
	var g errgroup.Group
	for _, s := range batch {
		g.Go(func() error { return l.carryOut(ctx, w, s) })
	}
	return g.Wait()
}

// maxRepeats is how often the same steps may run in a row. More means that its
// Done and its rule disagree; that must not become a busy loop.
const maxRepeats = 5

// repetition counts how often the same steps came up in a row.
type repetition struct {
	key   string
	times int
}

func (r *repetition) count(batch []plan.Step) int {
	key := ""
	for _, s := range batch {
		key += s.Key() + "\n"
	}
	if key != r.key {
		*r = repetition{key: key}
	}
	r.times++
	return r.times
}

// Look observes and decides without acting.
func (l *Loop) Look(ctx context.Context) (Wanted, cluster.State, plan.Plan, error) {
	w, err := l.o.Store.Load(ctx, l.o.Cluster)
	if err != nil {
		return w, cluster.State{}, plan.Plan{}, fmt.Errorf("load what is wanted: %w", err)
	}
	st := l.o.Observer.Observe(ctx, w.Wanted)
	return w, st, plan.Decide(w.Spec, st, l.o.Now()), nil
}

func (l *Loop) publish(w Wanted, st cluster.State, p plan.Plan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view = View{Wanted: w, State: st, Plan: p, Seq: l.view.Seq + 1}
	close(l.changed)
	l.changed = make(chan struct{})
}

// carryOut runs a step between its two records. A failed step is not an error
// of the loop: it is held back and shown.
func (l *Loop) carryOut(ctx context.Context, w Wanted, s plan.Step) error {
	if s.Looks() {
		return l.carryOutLook(ctx, w, s)
	}
	begin := l.o.Now()
	rec := record.Record{At: begin, Cluster: l.o.Cluster, By: "rule", Epoch: l.o.Epoch, Step: &s, Outcome: record.Started}
	again, failedBefore := l.failures.record(s)
	if !failedBefore {
		var err error
		if rec, err = l.o.Store.Append(ctx, rec); err != nil {
			return fmt.Errorf("record %s: %w", s.Kind, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, execute.Timeout(s.Kind))
	defer cancel()
	stepErr := l.o.Executor.Run(ctx, w.Wanted, s)
	took := l.o.Now().Sub(begin)
	log := l.o.Log.With("step", s.Kind, "nodes", s.Nodes, "took_ms", took.Milliseconds())
	if stepErr == nil {
		log.Info("step done", "reason", s.Reason)
	} else {
		log.Warn("step failed", "reason", s.Reason, "err", stepErr)
	}
	if failedBefore {
		rec = again
	}
	return l.conclude(ctx, s, rec, failedBefore, stepErr, took)
}

// carryOutLook runs a step that changes nothing; the history is of changes.
func (l *Loop) carryOutLook(ctx context.Context, w Wanted, s plan.Step) error {
	ctx, cancel := context.WithTimeout(ctx, execute.Timeout(s.Kind))
	defer cancel()
	begin := l.o.Now()
	err := l.o.Executor.Run(ctx, w.Wanted, s)
	if err != nil {
		l.failures.fail(s, err, record.Record{}, l.o.Now())
	} else {
		l.failures.succeed(s, record.Record{}, l.o.Now())
	}
	l.o.Log.Info("looked", "step", s.Kind, "nodes", s.Nodes, "took_ms", l.o.Now().Sub(begin).Milliseconds(), "err", err)
	return nil
}

// conclude writes a step's outcome. Repeated failures with the same error are
// folded into one record, so that history is not flooded.
func (l *Loop) conclude(ctx context.Context, s plan.Step, rec record.Record, failedBefore bool, stepErr error, took time.Duration) error {
	// The outcome is written even when the step used up its time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	out := rec
	out.TookMS = took.Milliseconds()
	out.Outcome, out.Error = record.Done, ""
	if stepErr != nil {
		out.Outcome, out.Error = record.Failed, stepErr.Error()
	}
	var err error
	switch {
	case !failedBefore:
		err = l.o.Store.Amend(ctx, out)
	case out.Outcome == rec.Outcome && out.Error == rec.Error:
		out.Repeats++
		err = l.o.Store.Amend(ctx, out)
	default:
		out.At, out.Repeats = l.o.Now(), 0
		out, err = l.o.Store.Append(ctx, out)
	}
	if stepErr != nil {
		l.failures.fail(s, stepErr, out, l.o.Now())
	} else {
		l.failures.succeed(s, out, l.o.Now())
	}
	if err != nil {
		return errors.Join(stepErr, fmt.Errorf("record the outcome of %s: %w", s.Kind, err))
	}
	return nil
}
