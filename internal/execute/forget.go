package execute

import (
	"context"
	"slices"

	"cke/internal/cluster"
	"cke/internal/host"
)

// forgetNode cleans a node that has left of certificates and configuration and
// drops its access data. What was moved aside stays there.
type forgetNode struct{ target }

func (a forgetNode) Done(context.Context) (bool, error) {
	return !slices.ContainsFunc(a.w.Leaving, func(n cluster.Node) bool { return n.Hostname == a.step.Nodes[0] }), nil
}

func (a forgetNode) Do(ctx context.Context) error {
	err := a.onNode(ctx, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		return h.Clean(ctx, a.cluster())
	})
	if err != nil {
		return err
	}
	return a.store().ForgetLeaving(ctx, a.cluster(), a.step.Nodes[0])
}

// forgetUser drops the memory of a user that was removed. From then on one of the
// same name is somebody else's.
type forgetUser struct{ target }

func (a forgetUser) Done(context.Context) (bool, error) {
	return !slices.Contains(a.w.RemovedUsers, *a.step.User), nil
}

func (a forgetUser) Do(ctx context.Context) error {
	return a.store().ForgetUser(ctx, a.cluster(), *a.step.User)
}
