// Package execute carries out one step of a plan. Each kind of step has a file
// with its Done (read-only: is it already so?) and its Do. Nothing is resumed
// from memory: after a crash the world is observed again, and Done makes doing
// a step twice harmless.
package execute

import (
	"context"
	"errors"
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
	// Progress is told how far long steps are; nil for nobody.
	Progress *Progress
	// After is told of every mutation right after it happened; nil for nobody.
	After After
}

// Executor carries out the steps of one cluster.
type Executor struct{ o Options }

// New returns an executor.
func New(o Options) *Executor {
	if o.After == nil {
		o.After = func(plan.Kind, Effect) {}
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

// Run carries a step out unless it is done already, after checking its guard on
// a fresh observation.
func (x *Executor) Run(ctx context.Context, w observe.Wanted, s plan.Step) error {
	t := target{x: x, w: w, step: s, seen: &seen{}, effects: effects{kind: s.Kind, after: x.o.After}}
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

// guard checks, immediately before the act, what etcd cannot check itself: that
// this is the cluster that was founded, that no newer leader of this store has
// acted meanwhile, and that the step is still safe.
func (t target) guard(ctx context.Context) error {
	s := t.step
	membership := s.ChangesMembership() || s.Kind == plan.RetireMember
	if !membership && s.Kind != plan.ConfigureAuth {
		return nil
	}
	if node, deposed := t.x.o.Observer.Deposed(ctx, t.w); deposed {
		return fmt.Errorf("guard %s: a newer leader has acted on %s", s.Kind, node)
	}
	e := t.members(ctx)
	if want := t.w.Bootstrap.ClusterID; e.Mixed != "" || want != 0 && e.ClusterID != want {
		return fmt.Errorf("guard %s: cluster %s answers, not %s: %s", s.Kind, e.ClusterID, want, e.Mixed)
	}
	if !membership {
		return nil
	}
	return plan.Guard(s, e)
}

func (t target) action() (action, error) {
	switch t.step.Kind {
	case plan.CheckHosts:
		return checkHosts{t}, nil
	case plan.InstallEtcd:
		return installEtcd{t}, nil
	case plan.RecordBootstrap:
		return recordBootstrap{t}, nil
	case plan.InstallCertificates:
		return installCertificates{t}, nil
	case plan.InstallUnits:
		return installUnits{t}, nil
	case plan.StartMembers:
		return startMembers{t}, nil
	case plan.ConfigureAuth:
		return configureAuth{t}, nil
	case plan.FinishBootstrap:
		return finishBootstrap{t}, nil
	case plan.AddLearner:
		return addLearner{t}, nil
	case plan.PromoteLearner:
		return promoteLearner{t}, nil
	case plan.MoveLeader:
		return moveLeader{t}, nil
	case plan.RemoveMember:
		return removeMember{t}, nil
	case plan.RetireMember:
		return retireMember{t}, nil
	case plan.ForgetNode:
		return forgetNode{t}, nil
	default:
		return nil, fmt.Errorf("step kind %q is unknown", t.step.Kind)
	}
}

// target is what every action shares: the step, what is wanted, and the ways to
// the outside, which report each mutation.
type target struct {
	x    *Executor
	w    observe.Wanted
	step plan.Step
	seen *seen
	effects
}

// seen is the one fresh observation of the members that a step's Done, guard
// and Do share.
type seen struct {
	once sync.Once
	e    cluster.EtcdState
}

func (t target) members(ctx context.Context) cluster.EtcdState {
	t.seen.once.Do(func() { t.seen.e = t.x.o.Observer.Etcd(ctx, t.w) })
	return t.seen.e
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
	return effectHost{h, t.effects}, nil
}

// observed asks one node of the step.
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

// allNodes says whether every node of the step is as wanted.
func (t target) allNodes(ctx context.Context, ok func(cluster.Node, cluster.NodeState) bool) (bool, error) {
	for _, name := range t.step.Nodes {
		ns, err := t.observed(ctx, name)
		if err != nil {
			return false, err
		}
		n, err := t.node(name)
		if err != nil {
			return false, err
		}
		if !ok(n, ns) {
			return false, nil
		}
	}
	return true, nil
}

// nodeTimeout bounds the work on one node, so that a host that hangs keeps the
// loop from the others no longer than this.
const nodeTimeout = 20 * time.Second

// NodeError is what failed on one node. A step on several returns one for each,
// joined.
type NodeError struct {
	Node cluster.NodeName
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("%s: %s", e.Node, e.Err) }

// Unwrap returns what failed.
func (e *NodeError) Unwrap() error { return e.Err }

// eachNode works on the step's nodes in parallel. One node's failure does not
// cut the others short.
func (t target) eachNode(ctx context.Context, do func(context.Context, cluster.Node, host.Host) error) error {
	return t.eachNodeWithin(ctx, nodeTimeout, do)
}

// eachNodeWithin is eachNode with another limit; 0 is none.
func (t target) eachNodeWithin(ctx context.Context, limit time.Duration, do func(context.Context, cluster.Node, host.Host) error) error {
	errs := make([]error, len(t.step.Nodes))
	var wg sync.WaitGroup
	for i, name := range t.step.Nodes {
		wg.Go(func() {
			n, err := t.node(name)
			if err != nil {
				errs[i] = err
				return
			}
			h, err := t.host(n)
			if err != nil {
				errs[i] = err
				return
			}
			ctx := ctx
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			if err := do(ctx, n, h); err != nil {
				errs[i] = &NodeError{name, err}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
