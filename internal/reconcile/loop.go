// Package reconcile turns the wheel: load what is wanted, observe, decide,
// carry out the steps that may be taken now, record them, and look again. A slow
// step goes on beside what else there is to do. One loop cares for one cluster;
// a sick cluster costs the others nothing, nor does a slow host.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

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

// Pinger asks members whether they serve.
type Pinger interface {
	Ping(ctx context.Context, endpoints []etcd.Endpoint) map[etcd.Endpoint]etcd.Pulse
}

// Options for New.
type Options struct {
	Cluster  string
	Store    Store
	Observer *observe.Observer
	Executor *execute.Executor
	Etcd     Pinger
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
	// Plan holds what is not under way already.
	Plan plan.Plan
	// Running are the steps under way.
	Running []plan.Step
	// Endpoints is what clients are to be told.
	Endpoints []cluster.Endpoint
	// Seq grows with each view.
	Seq int64
}

// Loop cares for one cluster.
type Loop struct {
	o        Options
	wake     chan struct{}
	failures *failures
	again    repetition // its own goroutine's
	flight   *flight
	exits    exitWatch

	mu      sync.Mutex
	view    View
	changed chan struct{} // closed and replaced with each view
}

// New returns a loop that has not started.
func New(o Options) *Loop {
	l := &Loop{
		o: o, wake: make(chan struct{}, 1), changed: make(chan struct{}),
		failures: newFailures(), again: repetition{}, flight: newFlight(),
	}
	l.exits = exitWatch{hosts: o.Hosts, cluster: o.Cluster, ended: l.ended, watched: map[cluster.NodeName]struct{}{}, began: map[cluster.NodeName]time.Time{}}
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

// ended is told of a member whose process is no longer what it was.
func (l *Loop) ended(n cluster.NodeName) {
	l.o.Observer.Changed(n)
	l.Wake()
}

// Run cares until ctx ends. It returns when nothing of it is left running.
func (l *Loop) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.watchHealth(ctx) })
	defer wg.Wait()
	defer l.exits.wait()
	defer l.flight.wait()
	var p patience
	for ctx.Err() == nil {
		t, err := l.once(ctx)
		l.flight.rest(ctx, t.begun)
		err = errors.Join(err, l.flight.takeErr())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.o.Log.Error("reconcile", "err", err)
		}
		wait := p.after(t, err, l.o.Now())
		if err == nil && t.acted {
			continue
		}
		beside := len(l.flight.now()) > 0
		if !beside {
			l.again = repetition{}
		}
		l.sleep(ctx, l.pause(t, err, wait, beside))
	}
}

// pause is how long to wait until the next look, unless something wakes the loop.
func (l *Loop) pause(t turn, err error, wait time.Duration, beside bool) time.Duration {
	d := l.o.Interval
	if err == nil && t.plan.Has(plan.Waiting) {
		d = min(d, wait)
		if beside { // whose end wakes the loop, and is most likely what is awaited
			d = min(l.o.Interval, max(d, stepPatience))
		}
	}
	if next, ok := l.failures.next(t.at); ok {
		d = min(d, next)
	}
	return d
}

func (l *Loop) sleep(ctx context.Context, d time.Duration) {
	// Of what came while the loop was busy the most urgent counts: an answer has the
	// loop wait for others, the end of a step does not.
	select {
	case <-l.wake:
		return
	default:
	}
	select {
	case <-l.flight.landed:
		return
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-l.wake:
	case <-l.flight.landed:
	case <-l.o.Observer.News():
		l.together(ctx)
	}
}

// together lets the answers of other slow hosts come in, for one look at all.
func (l *Loop) together(ctx context.Context) {
	t := time.NewTimer(20 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// turn is one turn of the wheel.
type turn struct {
	at    time.Time
	plan  plan.Plan
	begun []*underWay
	acted bool
}

// once looks, decides and begins what can be done at once.
func (l *Loop) once(ctx context.Context) (turn, error) {
	select {
	case <-l.o.Observer.News(): // this look will know
	default:
	}
	others := l.flight.fresh()
	w, st, p, err := l.look(ctx, others)
	if err != nil {
		return turn{}, err
	}
	p = p.Beside(others)
	t := turn{at: l.o.Now()}
	wanted := keys(p, others)
	l.failures.forgetAllBut(wanted, t.at)
	l.again.forgetAllBut(wanted)
	l.failures.noticeEnded(p, t.at)
	var runnable []plan.Step
	runnable, t.plan = l.failures.holdBack(p, t.at)
	l.publish(w, st, t.plan, others)
	l.exits.follow(ctx, w.Nodes(), st)
	for _, s := range plan.NextBatch(runnable) {
		t.acted = true
		if _, failed := l.failures.record(s); failed {
			l.again.forget(s)
		}
		if l.again.count(s) {
			err := fmt.Errorf("%s was done %d times and the plan still asks for it", s.Kind, maxRepeats)
			l.failures.failInVain(s, err, record.Record{Step: &s, Cluster: l.o.Cluster, By: "rule", Outcome: record.Failed, Error: err.Error()}, t.at)
			continue
		}
		t.begun = append(t.begun, l.flight.begin(s, func(finished func(cluster.NodeName)) error {
			return l.carryOut(ctx, w, s, finished)
		}))
	}
	return t, nil
}

// keys are the steps a plan asks for and those under way.
func keys(p plan.Plan, others []plan.UnderWay) map[string]bool {
	m := map[string]bool{}
	for _, s := range p.Steps {
		m[s.Key()] = true
	}
	for _, o := range others {
		m[o.Step.Key()] = true
	}
	return m
}

// Look observes and decides without acting.
func (l *Loop) Look(ctx context.Context) (Wanted, cluster.State, plan.Plan, error) {
	return l.look(ctx, l.flight.now())
}

func (l *Loop) look(ctx context.Context, others []plan.UnderWay) (Wanted, cluster.State, plan.Plan, error) {
	w, err := l.o.Store.Load(ctx, l.o.Cluster)
	if err != nil {
		return w, cluster.State{}, plan.Plan{}, fmt.Errorf("load what is wanted: %w", err)
	}
	w.Parting = plan.Parting(others)
	st := l.o.Observer.Observe(ctx, w.Wanted)
	return w, st, plan.Decide(w.Spec, st, l.o.Now()), nil
}

// Foresee observes and decides without acting, and tells of each step that failed
// what a View tells of it.
func (l *Loop) Foresee(ctx context.Context) (plan.Plan, error) {
	_, _, p, err := l.Look(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	_, shown := l.failures.holdBack(p, l.o.Now())
	return shown, nil
}

func (l *Loop) publish(w Wanted, st cluster.State, p plan.Plan, others []plan.UnderWay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := View{Wanted: w, State: st, Plan: p, Endpoints: plan.Endpoints(w.Spec, st, l.o.Now()), Seq: l.view.Seq + 1}
	for _, o := range others {
		v.Running = append(v.Running, o.Step)
	}
	l.show(v)
}

// show makes a view the newest. The caller holds the lock.
func (l *Loop) show(v View) {
	l.view = v
	close(l.changed)
	l.changed = make(chan struct{})
}
