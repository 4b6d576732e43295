package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/reconcile"
	"cke/internal/record"
	"cke/internal/store"
)

// backend serves the API from a running App.
type backend struct{ *App }

// care returns what cares for a cluster, or a not-found error for the caller.
func (b backend) care(ctx context.Context, name string) (*care, error) {
	if _, _, err := b.store.Spec(ctx, name); err != nil {
		return nil, notFound(err, name)
	}
	c, err := b.careFor(ctx, name)
	if errors.Is(err, errNotLeading) { // since the request was let in; nothing was done for it
		err = b.notLeading(ctx)
	}
	return c, err
}

func notFound(err error, name string) error {
	if errors.Is(err, store.ErrNotFound) {
		return api.NotFound(fmt.Sprintf("there is no cluster %q", name), "ckecli cluster list shows those there are; ckecli cluster set FILE makes one")
	}
	return err
}

// view returns the newest view of a cluster, waiting for the first.
func (b backend) view(ctx context.Context, name string) (reconcile.View, error) {
	c, err := b.care(ctx, name)
	if err != nil {
		return reconcile.View{}, err
	}
	return firstView(ctx, c.loop)
}

func firstView(ctx context.Context, l looks) (reconcile.View, error) {
	err := awaitView(ctx, l, func(reconcile.View) bool { return true })
	if err != nil {
		return reconcile.View{}, api.Refused("the cluster has not been looked at yet: "+err.Error(), "try again in a moment")
	}
	v, _ := l.View()
	return v, nil
}

// note records what a person did through the API. Whoever asked may be gone by now;
// what was done is recorded all the same.
func (b backend) note(ctx context.Context, name, action, reason string, err error, began time.Time) error {
	r := record.Record{
		At: began, Cluster: name, By: api.Caller(ctx), Epoch: b.store.Epoch(), Action: action, Reason: reason,
		Outcome: record.Done, TookMS: time.Since(began).Milliseconds(),
	}
	if err != nil {
		r.Outcome, r.Error = record.Failed, err.Error()
	}
	if _, recErr := b.store.Append(context.WithoutCancel(ctx), r); recErr != nil {
		return errors.Join(err, fmt.Errorf("record %s: %w", action, recErr))
	}
	return err
}

func (b backend) Clusters(ctx context.Context) ([]api.ClusterSummary, error) {
	var mu sync.Mutex
	var list []api.ClusterSummary
	err := b.eachCluster(ctx, func(ctx context.Context, name string) error {
		s, err := b.summary(ctx, name)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, s)
		return nil
	})
	slices.SortFunc(list, func(a, b api.ClusterSummary) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

func (b backend) summary(ctx context.Context, name string) (api.ClusterSummary, error) {
	c, err := b.careFor(ctx, name)
	var sick *sickError
	if errors.As(err, &sick) { // nobody looks at it, and status says why
		w, err := b.store.Load(ctx, name)
		return api.ClusterSummary{Name: name, Phase: w.Bootstrap.Phase, Nodes: len(w.Spec.Nodes)}, err
	}
	if err != nil {
		return api.ClusterSummary{}, err
	}
	v, err := firstView(ctx, c.loop)
	return api.ClusterSummary{
		Name: name, Phase: v.State.Bootstrap.Phase, Healthy: healthy(v),
		Voters: len(v.State.Etcd.HealthyVoters()), Nodes: len(v.Wanted.Spec.Nodes),
	}, err
}

func (b backend) Status(ctx context.Context, name string) (api.Status, error) {
	v, err := b.view(ctx, name)
	if err != nil {
		return api.Status{}, err
	}
	c, err := b.careFor(ctx, name)
	if err != nil {
		return api.Status{}, err
	}
	return c.status(v), nil
}

func (b backend) WatchStatus(ctx context.Context, name string, fn func(api.Status) error) error {
	c, err := b.care(ctx, name)
	if err != nil {
		return err
	}
	return follow(ctx, func() (api.Status, bool, <-chan struct{}, <-chan struct{}) {
		v, changed := c.loop.View()
		_, moved := c.progress.Now()
		return c.status(v), v.Seq > 0, changed, moved
	}, fn)
}

func (b backend) Plan(ctx context.Context, name string) (plan.Plan, error) {
	c, err := b.care(ctx, name)
	if err != nil {
		return plan.Plan{}, err
	}
	return c.loop.Foresee(ctx)
}

func (b backend) History(ctx context.Context, name string, n int) ([]record.Record, error) {
	if _, _, err := b.store.Spec(ctx, name); err != nil {
		return nil, notFound(err, name)
	}
	return b.store.Records(ctx, name, n)
}

func (b backend) FollowHistory(ctx context.Context, name string, n int, fn func(record.Record) error) error {
	old, err := b.History(ctx, name, n)
	if err != nil {
		return err
	}
	var last int64
	for _, r := range old {
		if err := fn(r); err != nil {
			return err
		}
		last = r.Seq
	}
	fresh, err := b.store.WatchRecords(ctx, name, last)
	if err != nil {
		return err
	}
	for r := range fresh {
		if err := fn(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Pause returns once the loop has taken it in: from then on no step runs.
func (b backend) Pause(ctx context.Context, name, why string) error {
	c, err := b.care(ctx, name)
	if err != nil {
		return err
	}
	began := time.Now()
	err = b.store.SetPause(ctx, name, cluster.Pause{By: api.Caller(ctx), Why: why, At: began.UTC()})
	if err := b.note(ctx, name, "pause", why, err, began); err != nil {
		return err
	}
	c.loop.Wake()
	return awaitView(ctx, c.loop, func(v reconcile.View) bool { return v.State.Paused != nil && len(v.Running) == 0 })
}

// Resume returns once the loop goes on.
func (b backend) Resume(ctx context.Context, name string) error {
	c, err := b.care(ctx, name)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.note(ctx, name, "resume", "", b.store.ClearPause(ctx, name), began); err != nil {
		return err
	}
	c.loop.Wake()
	return awaitView(ctx, c.loop, func(v reconcile.View) bool { return v.State.Paused == nil })
}

// awaitView waits for a view that shows it.
func awaitView(ctx context.Context, l looks, shows func(reconcile.View) bool) error {
	for {
		v, changed := l.View()
		if v.Seq > 0 && shows(v) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// node finds a node of the spec, or one that leaves or has left, by hostname or
// address.
func (b backend) node(ctx context.Context, name, which string) (cluster.Node, error) {
	w, err := b.store.Load(ctx, name)
	if err != nil {
		return cluster.Node{}, notFound(err, name)
	}
	for _, n := range slices.Concat(w.Spec.Nodes, w.Leaving, w.Left) {
		if string(n.Hostname) == which || n.Address.String() == which {
			return n, nil
		}
	}
	return cluster.Node{}, api.NotFound(fmt.Sprintf("cluster %s has no node %q", name, which), "ckecli node list")
}

func (b backend) Claim(ctx context.Context, name, which string) error {
	n, err := b.node(ctx, name, which)
	if err != nil {
		return err
	}
	began := time.Now()
	b.hosts.remote.Retry(n)
	h, err := b.hosts.Host(n)
	if err == nil {
		err = h.Claim(ctx)
	}
	err = b.note(ctx, name, "claim "+string(n.Hostname), "", notAsked(n, err), began)
	if c, cErr := b.careFor(ctx, name); cErr == nil {
		c.observer.Changed(n.Hostname)
		c.loop.Wake()
	}
	return err
}

func (b backend) Logs(ctx context.Context, name, which string, n int, follow bool) (io.ReadCloser, error) {
	node, err := b.node(ctx, name, which)
	if err != nil {
		return nil, err
	}
	h, err := b.hosts.Host(node)
	if err != nil {
		return nil, err
	}
	text, err := h.Log(ctx, host.LogRequest{Cluster: name, Lines: n, Follow: follow})
	return text, notAsked(node, err)
}

// notAsked says of a host that cannot be asked what a person can do about it.
func notAsked(n cluster.Node, err error) error {
	var trouble *host.TroubleError
	var unreachable *host.UnreachableError
	var hint string
	switch {
	case errors.As(err, &trouble):
		err, hint = trouble, trouble.Hint
	case errors.As(err, &unreachable):
		err, hint = unreachable, unreachable.Hint()
	default:
		return err
	}
	return &api.Error{Code: api.CodeFailed, Message: fmt.Sprintf("node %s cannot be asked: %v", n.Hostname, err), Hint: hint}
}

func (b backend) StateBackup(ctx context.Context, w io.Writer) error { return b.store.Backup(ctx, w) }

func (b backend) Leader(ctx context.Context) (api.Leader, error) {
	l, err := b.store.Leader(ctx)
	if err != nil {
		return api.Leader{}, leaderUnknown(err)
	}
	return api.Leader{
		StoreID: l.StoreID, Epoch: l.Epoch, Hostname: l.Hostname, PID: l.PID, Since: l.Since.UTC(), Version: l.Version,
		Server: l.Server, Self: l.Candidate == b.self,
	}, nil
}
