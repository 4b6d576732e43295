package app

import (
	"context"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/kube"
	"cke/internal/pki"
	"cke/internal/reconcile"
	"cke/internal/record"
)

// export tells Kubernetes what the loop sees of one cluster. It follows the spec:
// there is a publisher while a kubeconfig is named and the cluster is founded.
type export struct {
	a         *App
	cluster   string
	authority pki.Authority
	until     func() time.Time // no change may outlive it

	mu  sync.Mutex
	now *publishing // nil while Kubernetes is not told
}

// publishing is a publisher that runs.
type publishing struct {
	kubeconfig string
	publisher  *kube.Publisher
	cancel     context.CancelFunc
	ended      chan struct{}
}

func (p *publishing) end() {
	p.cancel()
	<-p.ended
}

// follow tells of each view of the loop's until ctx ends.
func (x *export) follow(ctx context.Context, loop *reconcile.Loop) {
	defer x.use(ctx, "", loop)
	for {
		v, changed := loop.View()
		if v.Seq > 0 {
			x.tell(ctx, v, loop)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (x *export) tell(ctx context.Context, v reconcile.View, loop *reconcile.Loop) {
	p := x.use(ctx, exportTo(v), loop)
	if p == nil {
		return
	}
	p.Want(kube.Export{
		Cluster: x.cluster, Endpoints: v.Endpoints, Bundles: v.Wanted.Bundles, CA: x.authority.Server.CertPEM(),
	})
}

// exportTo is the kubeconfig of whom to tell; empty for nobody. A cluster that is
// paused is told of all the same: clients must not be led to a dead member. A cke
// that a newer leader has deposed tells nobody, paused or not, or the two would
// undo each other's work.
func exportTo(v reconcile.View) string {
	if v.State.Bootstrap.Phase != cluster.PhaseBootstrapped {
		return ""
	}
	if v.State.NewerLeader != "" {
		return ""
	}
	return v.Wanted.Spec.Kubernetes.Kubeconfig
}

// use returns the publisher for a kubeconfig, which it begins if need be, and ends
// another one.
func (x *export) use(ctx context.Context, kubeconfig string, loop *reconcile.Loop) *kube.Publisher {
	x.mu.Lock()
	old := x.now
	if old != nil && old.kubeconfig == kubeconfig {
		x.mu.Unlock()
		return old.publisher
	}
	x.now = nil
	x.mu.Unlock()
	if old != nil {
		old.end()
	}
	if kubeconfig == "" {
		return nil
	}
	p := x.begin(ctx, kubeconfig, loop)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = p
	return p.publisher
}

func (x *export) begin(ctx context.Context, kubeconfig string, loop *reconcile.Loop) *publishing {
	ctx, cancel := context.WithCancel(ctx)
	p := &publishing{kubeconfig: kubeconfig, cancel: cancel, ended: make(chan struct{})}
	p.publisher = kube.New(kube.Options{
		Kubeconfig: kubeconfig, Authority: pki.Bundles{Client: x.authority.Client},
		Changed: loop.Wake,
		Forget: func(ctx context.Context, b cluster.Bundle) error {
			return x.a.store.ForgetBundle(ctx, x.cluster, b.Namespace, b.Name)
		},
		Recorded: func(what string, err error) { x.record(ctx, what, err) },
		Until:    x.until, Now: time.Now, Log: x.a.log.With("cluster", x.cluster),
	})
	go func() {
		defer close(p.ended)
		p.publisher.Run(ctx)
	}()
	return p
}

// record notes what was done in Kubernetes. That it could not be noted undoes
// nothing.
func (x *export) record(ctx context.Context, what string, err error) {
	r := record.Record{
		At: time.Now(), Cluster: x.cluster, By: "rule", Epoch: x.a.store.Epoch(), Action: "tell Kubernetes", Reason: what, Outcome: record.Done,
	}
	if err != nil {
		r.Outcome, r.Error = record.Failed, err.Error()
	}
	if _, err := x.a.store.Append(ctx, r); err != nil && ctx.Err() == nil {
		x.a.log.Error("record what Kubernetes was told", "cluster", x.cluster, "what", what, "err", err)
	}
}

func (x *export) publisher() *kube.Publisher {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil {
		return nil
	}
	return x.now.publisher
}

// published is what the rules are told.
func (x *export) published() cluster.Published {
	if p := x.publisher(); p != nil {
		return p.Published()
	}
	return cluster.Published{}
}

// conditions say how Kubernetes is kept.
func (x *export) conditions() []cluster.Condition {
	if p := x.publisher(); p != nil {
		return p.Conditions()
	}
	return nil
}
