package execute

import (
	"context"
	"fmt"

	"cke/internal/cluster"
	"cke/internal/observe"
	"cke/internal/plan"
)

// Wants says what is wanted now.
type Wants func(context.Context) (observe.Wanted, error)

// stillCarries asks the spec of this moment whether the node may carry a member: the step
// may have waited for a slow host since it was begun.
func (a addLearner) stillCarries(ctx context.Context, n cluster.Node) error {
	if a.x.o.Wants == nil {
		return nil
	}
	w, err := a.x.o.Wants(ctx)
	if err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	return plan.StillCarries(n, w.Spec)
}

// stillUnwanted asks the spec of this moment whether the member is to go. The step was
// begun by that of then, and may have waited for a slow host since.
func (a removeMember) stillUnwanted(ctx context.Context) error {
	if a.x.o.Wants == nil || !a.step.ForUnwanted() {
		return nil
	}
	w, err := a.x.o.Wants(ctx)
	if err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	return plan.StillUnwanted(a.step, a.w.Spec, w.Spec, a.members(ctx), a.x.o.Now())
}
