// Package execute carries out one step of a plan. Each kind of step has a file
// with its Done (read-only: is it already so?) and its Do. Nothing is resumed
// from memory: after a crash the world is observed again, and Done makes doing
// a step twice harmless.
package execute

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/pki"
	"cke/internal/plan"
)

// Store is the part of CKE's store that steps write.
type Store interface {
	Bootstrap(ctx context.Context, name string) (cluster.Bootstrap, error)
	AdvanceBootstrap(ctx context.Context, name string, from cluster.Phase, b cluster.Bootstrap) error
	ForgetLeaving(ctx context.Context, name string, node cluster.NodeName) error
	ForgetUser(ctx context.Context, name string, u cluster.RemovedUser) error
	ForgetDefrag(ctx context.Context, name string, n cluster.NodeName) error
	PutRestart(ctx context.Context, name string, r cluster.Restart) error
	PutSnapshot(ctx context.Context, name string, s cluster.Snapshot) error
	DropRestart(ctx context.Context, name string, r cluster.Restart) error
	ChangeDrain(ctx context.Context, name string, from *cluster.Drain, to cluster.Drain) (bool, error)
	DropDrain(ctx context.Context, name string, d cluster.Drain) error
	AdvanceReboot(ctx context.Context, name string, from, to cluster.Reboot) (bool, error)
	TellReboot(ctx context.Context, name string, from, to cluster.Reboot, drains []cluster.Drain) (bool, error)
}

// Options for New.
type Options struct {
	Cluster   string
	Store     Store
	Hosts     observe.Hosts
	Etcd      Etcd
	Observer  *observe.Observer
	Authority pki.Authority
	Now       func() time.Time
	Log       *slog.Logger
	// Releases are what can be put on hosts; nil for nothing.
	Releases Releases
	// Snapshots is the directory for those taken before a change of version, on the
	// machine Hostname.
	Snapshots, Hostname string
	// Token makes the one of a founding; nil: a random one.
	Token func() string
	// Progress is told how far long steps are; nil for nobody.
	Progress *Progress
	// Boot is that of the machine cke runs on, which is never rebooted.
	Boot string
	// Wants is asked right before what an edit since the step began may have made wrong;
	// nil: what it was begun with holds.
	Wants Wants
	// Before is told of every mutation right before it, After right after it happened;
	// nil for nobody.
	Before Before
	After  After
	// Outcome is told how each of them went; nil for nobody.
	Outcome Outcome
}

// Executor carries out the steps of one cluster.
type Executor struct{ o Options }

// New returns an executor.
func New(o Options) *Executor {
	if o.Before == nil {
		o.Before = func() {}
	}
	if o.After == nil {
		o.After = func(plan.Kind, Effect) {}
	}
	if o.Token == nil {
		o.Token = rand.Text
	}
	if o.Outcome == nil {
		o.Outcome = func(plan.Kind, Effect, error) {}
	}
	return &Executor{o: o}
}

// action is one step about to be carried out.
type action interface {
	// Done says whether the world is already as the step wants it.
	Done(ctx context.Context) (bool, error)
	// Do changes it. A failure leaves something that the next plan can go on from.
	Do(ctx context.Context) error
}

// Finished is told of each node that a step has done its work on, while it goes
// on with others. A node it failed on is the step's until its end.
type Finished func(cluster.NodeName)

// Run carries a step out unless it is done already, after checking its guard on
// a fresh observation.
func (x *Executor) Run(ctx context.Context, w observe.Wanted, s plan.Step, finished Finished) error {
	t := target{x: x, w: w, step: s, seen: &seen{}, finished: finished, effects: effects{kind: s.Kind, before: x.o.Before, after: x.o.After, outcome: x.o.Outcome}}
	a, err := t.action()
	if err != nil {
		return err
	}
	done, err := a.Done(ctx)
	if err != nil {
		return fmt.Errorf("check %s: %w", s.Kind, err)
	}
	if done {
		return nil
	}
	if err := t.guard(ctx); err != nil {
		return err
	}
	return a.Do(ctx)
}

// lookIsFresh is how long hosts may take to answer before the members are asked
// again. Hosts that are known to be slow or silent are not waited for that long.
const lookIsFresh = 250 * time.Millisecond

// guard checks, immediately before the act, what etcd cannot check itself: that
// this is the cluster that was founded, that no newer leader of this store has
// acted meanwhile, and that the step is still safe.
func (t target) guard(ctx context.Context) error {
	s := t.step
	if s.Kind == plan.RollBackMember {
		// Of one or two voters nobody may answer, and it goes on all the same.
		return plan.Guard(s, t.members(ctx))
	}
	membership := s.ChangesMembership() || s.Kind == plan.RetireMember
	if !membership && s.Kind != plan.ConfigureAuth && s.Kind != plan.Compact && s.Kind != plan.DisarmAlarm {
		return nil
	}
	asked := t.x.o.Now()
	if node, deposed := t.x.o.Observer.Deposed(ctx, t.w); deposed {
		return fmt.Errorf("guard %s: a newer leader has acted on %s", s.Kind, node)
	}
	// A host was waited for that answered promptly until now: it may have fallen since
	// the members were asked, and with it the very one that is to go, or a voter that
	// is needed.
	if t.x.o.Now().Sub(asked) > lookIsFresh {
		t.seen.forget()
	}
	e := t.members(ctx)
	if want := t.w.Bootstrap.ClusterID; e.Mixed != "" || want != 0 && e.ClusterID != want {
		return fmt.Errorf("guard %s: cluster %s answers, not %s: %s", s.Kind, e.ClusterID, want, e.Mixed)
	}
	if s.Kind == plan.ConfigureAuth {
		return nil
	}
	return plan.Guard(s, e)
}

// target is what every action shares: the step, what is wanted, and the ways to
// the outside, which report each mutation.
type target struct {
	x        *Executor
	w        observe.Wanted
	step     plan.Step
	seen     *seen
	finished Finished
	effects
}

// seen is the one fresh observation of the members that a step's Done, guard
// and Do share.
type seen struct {
	mu sync.Mutex
	e  *cluster.EtcdState
}

// forget has the next who asks look again.
func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.e = nil
}

func (t target) members(ctx context.Context) cluster.EtcdState {
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	if t.seen.e == nil {
		ask := t.x.o.Observer.Etcd
		if t.step.ByHost { // the learner answers nobody yet
			ask = t.x.o.Observer.Serving
		}
		e := ask(ctx, t.w)
		t.seen.e = &e
	}
	return *t.seen.e
}

func (t target) cluster() string { return t.x.o.Cluster }

func (t target) store() Store { return effectStore{t.x.o.Store, t.effects} }

func (t target) node(name cluster.NodeName) (cluster.Node, error) {
	for _, n := range t.w.Nodes() {
		if n.Hostname == name {
			return n, nil
		}
	}
	return cluster.Node{}, fmt.Errorf("node %s is not in the spec", name)
}

func (t target) host(n cluster.Node) (host.Host, error) {
	h, err := t.x.o.Hosts.Host(n)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", n.Hostname, err)
	}
	return effectHost{h, t.effects, func() { t.x.o.Observer.Changed(n.Hostname) }}, nil
}

// observed asks one node of the step and waits for its answer.
func (t target) observed(ctx context.Context, name cluster.NodeName) (cluster.NodeState, error) {
	n, err := t.node(name)
	if err != nil {
		return cluster.NodeState{}, err
	}
	ns := t.x.o.Observer.Node(ctx, t.w, n)
	if !ns.Reachable() {
		return ns, fmt.Errorf("reach %s: %s", name, ns.Err)
	}
	return ns, nil
}
