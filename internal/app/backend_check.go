package app

import (
	"context"

	"cke/internal/cluster"
	"cke/internal/observe"
	"cke/internal/plan"
)

// CheckNodes measures nodes as the loop does before it places a member, and
// leaves what was found to the loop.
func (b backend) CheckNodes(ctx context.Context, name, which string) ([]cluster.NodeCheck, error) {
	c, err := b.care(ctx, name)
	if err != nil {
		return nil, err
	}
	v, err := firstView(ctx, c.loop)
	if err != nil {
		return nil, err
	}
	w, err := loopStore{b.store}.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	nodes, err := b.checked(ctx, name, which, w.Wanted)
	if err != nil {
		return nil, err
	}
	names := make([]cluster.NodeName, len(nodes))
	for i, n := range nodes {
		names[i] = n.Hostname
	}
	measured := c.observer.Measure(ctx, w.Wanted, names)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var list []cluster.NodeCheck
	for _, n := range nodes {
		m := measured[n.Hostname]
		list = append(list, cluster.NodeCheck{
			Node: n.Hostname, Address: n.Address.String(), At: m.At.UTC(),
			Checks: plan.CheckNode(w.Spec, n, m, plan.Peers(w.Spec, v.State, n)),
		})
	}
	c.loop.Wake()
	return list, nil
}

// checked are the nodes meant: one by its name, or all that may carry a member.
func (b backend) checked(ctx context.Context, name, which string, w observe.Wanted) ([]cluster.Node, error) {
	if which != "" {
		n, err := b.node(ctx, name, which)
		return []cluster.Node{n}, err
	}
	var nodes []cluster.Node
	for _, n := range w.Spec.Nodes {
		if n.ControlPlane {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}
