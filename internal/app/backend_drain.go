package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/reconcile"
)

// DrainNode takes a node out of service. It looks before it records that, so that
// what cannot be done is refused and not waited for.
func (b backend) DrainNode(ctx context.Context, name, which string, r api.DrainRequest) (api.DrainAnswer, error) {
	c, n, err := b.caredNode(ctx, name, which)
	if err != nil {
		return api.DrainAnswer{}, err
	}
	began := time.Now()
	w, st, _, err := c.loop.Look(ctx)
	if err != nil {
		return api.DrainAnswer{}, err
	}
	d := cluster.Drain{Node: n.Hostname, By: api.Caller(ctx), Why: r.Why, At: began.UTC(), Interrupt: r.Interrupt}
	if i := slices.IndexFunc(w.Drains, func(o cluster.Drain) bool { return o.Node == d.Node && !o.Over() }); i >= 0 && d.Why == "" {
		d.Why = w.Drains[i].Why // asked for once more, the reason is what it was
	}
	if why, hint := plan.DrainRefused(w.Spec, st, d); why != "" {
		return api.DrainAnswer{}, api.Refused(fmt.Sprintf("node %s is not drained: %s", n.Hostname, why), hint)
	}
	if err := b.note(ctx, name, "drain "+string(n.Hostname), d.Why, b.store.PutDrain(ctx, name, d), began); err != nil {
		return api.DrainAnswer{}, err
	}
	c.loop.Wake()
	return api.DrainAnswer{Node: n.Hostname}, awaitView(ctx, c.loop, func(v reconcile.View) bool {
		return slices.ContainsFunc(v.State.Drains, func(o cluster.Drain) bool { return o.Node == n.Hostname && !o.At.Before(d.At) })
	})
}

// UndrainNode puts a node into service again; one that is not drained is.
func (b backend) UndrainNode(ctx context.Context, name, which string) (api.DrainAnswer, error) {
	c, n, err := b.caredNode(ctx, name, which)
	if err != nil {
		return api.DrainAnswer{}, err
	}
	w, err := b.store.Load(ctx, name)
	if err != nil {
		return api.DrainAnswer{}, err
	}
	began := time.Now()
	for _, d := range w.Drains {
		if d.Node != n.Hostname || d.Over() {
			continue
		}
		if why, hint := plan.UndrainRefused(w.Reboot, d, began); why != "" {
			return api.DrainAnswer{}, api.Refused(fmt.Sprintf("node %s is not undrained: %s", n.Hostname, why), hint)
		}
		d.Ended = began.UTC()
		if err := b.note(ctx, name, "undrain "+string(n.Hostname), "", b.store.PutDrain(ctx, name, d), began); err != nil {
			return api.DrainAnswer{}, err
		}
	}
	c.loop.Wake()
	return api.DrainAnswer{Node: n.Hostname}, awaitView(ctx, c.loop, func(v reconcile.View) bool {
		return !slices.ContainsFunc(v.State.Drains, func(d cluster.Drain) bool { return d.Node == n.Hostname && !d.Over() })
	})
}

// caredNode is a node of the spec or a leaving one, and who cares for it.
func (b backend) caredNode(ctx context.Context, name, which string) (*care, cluster.Node, error) {
	c, err := b.care(ctx, name)
	if err != nil {
		return nil, cluster.Node{}, err
	}
	w, err := b.store.Load(ctx, name)
	if err != nil {
		return nil, cluster.Node{}, err
	}
	for _, n := range slices.Concat(w.Spec.Nodes, w.Leaving) {
		if string(n.Hostname) == which || n.Address.String() == which {
			return c, n, nil
		}
	}
	return nil, cluster.Node{}, api.NotFound(fmt.Sprintf("cluster %s has no node %q", name, which), "ckecli node list")
}
