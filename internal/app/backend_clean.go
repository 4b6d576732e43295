package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/reconcile"
)

// CleanNode removes everything of CKE's from a node's machine, or, to forget,
// only what CKE knows of a machine that is gone.
func (b backend) CleanNode(ctx context.Context, name, which string, forget bool) error {
	c, err := b.care(ctx, name)
	if err != nil {
		return err
	}
	w, st, _, err := c.loop.Look(ctx)
	if err != nil {
		return err
	}
	n, left, err := cleanable(w, which)
	if err != nil {
		return err
	}
	began, action := time.Now(), "clean "
	if forget {
		action = "forget "
		if why, hint := plan.ForgetRefused(w.Spec, st, n, left); why != "" {
			return api.Refused(fmt.Sprintf("node %s is not forgotten: %s", n.Hostname, why), hint)
		}
	} else if err = b.clean(ctx, c, w, st, n, left); isRefused(err) {
		return err
	}
	if err == nil {
		err = b.does(storeForgetLeft, func() error { return b.store.ForgetLeft(ctx, name, n) })
	}
	err = b.note(ctx, name, action+string(n.Hostname), "", err, began)
	c.loop.Wake()
	if err != nil {
		return err
	}
	return awaitView(ctx, c.loop, func(v reconcile.View) bool {
		return !slices.Contains(v.Wanted.Left, n) && !slices.Contains(v.Wanted.Leaving, n)
	})
}

// cleanable finds a node by hostname or address: of the spec, leaving, or left.
// A name that several have means the first of these.
func cleanable(w reconcile.Wanted, which string) (n cluster.Node, left bool, err error) {
	nodes := w.Nodes()
	for i, n := range append(nodes, w.Left...) {
		if string(n.Hostname) == which || n.Address.String() == which {
			return n, i >= len(nodes), nil
		}
	}
	return n, false, api.NotFound(fmt.Sprintf("cluster %s has no node %q, nor had it one that was not cleaned", w.Spec.Name, which), "ckecli node list")
}

func (b backend) clean(ctx context.Context, c *care, w reconcile.Wanted, st cluster.State, n cluster.Node, left bool) error {
	ns := st.Nodes[n.Hostname]
	if left {
		ns = c.observer.Node(ctx, w.Wanted, n)
	}
	if why, hint := plan.CleanRefused(w.Spec, st, n, ns); why != "" {
		return api.Refused(fmt.Sprintf("node %s is not cleaned: %s", n.Hostname, why), hint)
	}
	if err := b.notAnothers(ctx, w.Spec.Name, n); err != nil {
		return err
	}
	h, err := b.hosts.Host(n)
	if err != nil {
		return err
	}
	err = b.does(hostPurge, func() error { return h.Purge(ctx) })
	var guard *host.GuardError
	if errors.As(err, &guard) {
		return api.Refused(fmt.Sprintf("node %s is not cleaned: its host refuses: %s", n.Hostname, guard.Reason), "ckecli status")
	}
	return err
}

// notAnothers: a machine that left this cluster may have become another's since.
func (b backend) notAnothers(ctx context.Context, name string, n cluster.Node) error {
	return b.eachCluster(ctx, func(ctx context.Context, other string) error {
		if other == name {
			return nil
		}
		o, err := b.store.Load(ctx, other)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(slices.Concat(o.Spec.Nodes, o.Leaving), n.SameMachine) {
			return api.Refused(fmt.Sprintf("node %s is not cleaned: its machine is a node of cluster %s", n.Hostname, other),
				"ckecli node clean "+string(n.Hostname)+" --forget drops its record here")
		}
		return nil
	})
}

func isRefused(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Code == api.CodeRefused
}
