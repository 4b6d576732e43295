package execute

import (
	"context"

	"cke/internal/cluster"
	"cke/internal/host"
)

// stopMember ends the process of a member whose node is drained. Its unit and its
// data stay; that nobody starts it is for the plan.
type stopMember struct{ target }

func (a stopMember) Done(ctx context.Context) (bool, error) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	u := ns.Unit
	return u == nil || u.Unit.Member != a.step.Member || !u.Running, err
}

func (a stopMember) Do(ctx context.Context) error {
	return a.onNode(ctx, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		return h.StopUnit(ctx, host.StopUnit{Cluster: a.cluster(), Member: a.step.Member, Grace: stopGrace})
	})
}

// finishDrain drops the record of a drain.
type finishDrain struct{ target }

func (a finishDrain) Done(context.Context) (bool, error) { return false, nil }

func (a finishDrain) Do(ctx context.Context) error {
	return a.store().DropDrain(ctx, a.cluster(), *a.step.Drain)
}
