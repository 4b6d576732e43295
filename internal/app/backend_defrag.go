package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/reconcile"
	"cke/internal/units"
)

// AskDefrag records the wish and returns when the loop knows of it, which meets it
// when that is safe.
func (b backend) AskDefrag(ctx context.Context, name, which string) ([]api.DefragAsked, error) {
	began := time.Now()
	c, err := b.founded(ctx, name)
	if err != nil {
		return nil, err
	}
	v, err := quorate(ctx, c.loop)
	if err != nil {
		return nil, err
	}
	var asked []api.DefragAsked
	var requests []cluster.DefragRequest
	var names []string
	for _, n := range v.Wanted.Nodes() {
		m, ok := v.State.Etcd.MemberAt(n)
		if !ok || which != "" && which != string(n.Hostname) || which == "" && !m.Healthy {
			continue
		}
		if !m.Healthy {
			hint := "ckecli status"
			if slices.ContainsFunc(v.State.Drains, func(d cluster.Drain) bool { return d.Node == n.Hostname && !d.Over() }) {
				hint = "ckecli node undrain " + string(n.Hostname)
			}
			return nil, api.Refused(fmt.Sprintf("the member on %s does not serve: %s", n.Hostname, m.Err), hint)
		}
		asked = append(asked, api.DefragAsked{
			Node: n.Hostname, Bytes: m.DBSize, Free: plan.Free(v.State.Etcd, m),
			Stall:      units.Duration(plan.Stall(v.State.Etcd, m).Round(10 * time.Millisecond)),
			Interrupts: !m.Learner && len(v.State.Etcd.Voters()) <= 2,
		})
		requests = append(requests, cluster.DefragRequest{Node: n.Hostname, By: api.Caller(ctx), At: began.UTC()})
		names = append(names, string(n.Hostname))
	}
	if len(asked) == 0 {
		return nil, api.NotFound(fmt.Sprintf("cluster %s has no member on a node %q", name, which), "ckecli etcd members")
	}
	err = b.store.AskDefrag(ctx, name, requests)
	if err := b.note(ctx, name, "defrag "+strings.Join(names, " "), "", err, began); err != nil {
		return nil, err
	}
	recorded := time.Now()
	c.loop.Wake()
	return asked, awaitView(ctx, c.loop, func(v reconcile.View) bool { return v.State.At.After(recorded) })
}
