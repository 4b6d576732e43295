package execute

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

// restartTimeout bounds a restart on its node: a slow host must not be given up
// between the stop and the start.
const restartTimeout = 90 * time.Second

// restartMember gives a running member other settings: the record of what it worked
// with first, then the unit, for whatever ends the member from then on starts it with
// that, then the restart. A crash in between leaves a member that is followed until it
// serves, or a record of a restart that was not begun.
type restartMember struct{ target }

func (a restartMember) Done(ctx context.Context) (bool, error) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	return runsWith(ns, a.step.Restart.To), err
}

func (a restartMember) Do(ctx context.Context) error {
	r := *a.step.Restart
	r.At = a.x.o.Now().UTC()
	return a.onNodeFor(ctx, restartTimeout, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		if err := a.store().PutRestart(ctx, a.cluster(), r); err != nil {
			return err
		}
		if err := h.InstallUnit(ctx, r.To); err != nil {
			return errors.Join(err, a.refused(ctx, err, r))
		}
		// The host may have taken its time; another member may have died meanwhile.
		// With the record written the restart is gone on with as soon as it is safe.
		if err := plan.Guard(a.step, a.x.o.Observer.Etcd(ctx, a.w)); err != nil {
			return err
		}
		return a.restart(ctx, h, r.Member)
	})
}

// refused takes the record back when the host will have none of the new unit: the
// old one stands.
func (a restartMember) refused(ctx context.Context, err error, r cluster.Restart) error {
	var guard *host.GuardError
	var invalid *host.InvalidError
	switch {
	case !errors.As(err, &guard) && !errors.As(err, &invalid):
		return nil // nobody knows which unit it has; the next look tells
	case a.w.Restart != nil:
		return a.store().PutRestart(ctx, a.cluster(), *a.w.Restart)
	default:
		return a.store().DropRestart(ctx, a.cluster(), r)
	}
}

// restart stops a member and starts it with what its unit says.
func (t target) restart(ctx context.Context, h host.Host, m cluster.MemberID) error {
	if err := h.StopUnit(ctx, host.StopUnit{Cluster: t.cluster(), Member: m, Grace: stopGrace}); err != nil {
		return err
	}
	return h.StartUnit(ctx, t.cluster(), m)
}

// runsWith says whether a member is installed and runs with these settings.
func runsWith(ns cluster.NodeState, want cluster.Unit) bool {
	u := ns.Unit
	return u != nil && u.Unit.Equal(want) && u.Started != nil && u.Started.SameSettings(want) && !u.StaleCA
}

// finishRestart drops the record of a restart.
type finishRestart struct{ target }

func (a finishRestart) Done(context.Context) (bool, error) { return a.w.Restart == nil, nil }

func (a finishRestart) Do(ctx context.Context) error {
	return a.store().DropRestart(ctx, a.cluster(), *a.step.Restart)
}

// rollBackMember gives a member what it last worked with again. That its new
// settings failed is written down first: they are not tried again.
type rollBackMember struct{ target }

func (a rollBackMember) Done(ctx context.Context) (bool, error) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	if err != nil || a.w.Restart != nil && a.w.Restart.Failed != "" && runsWith(ns, a.step.Restart.From) {
		return err == nil, err
	}
	return false, a.stillSilent(ctx)
}

// stillSilent: a member that has come to serve since is not stopped.
func (a rollBackMember) stillSilent(ctx context.Context) error {
	if n, err := a.node(a.step.Nodes[0]); err == nil {
		a.x.o.Observer.AskAgain(n)
	}
	if m, ok := a.members(ctx).Member(a.step.Member); ok && m.Healthy {
		return fmt.Errorf("member %s serves by now", m.ID)
	}
	return nil
}

func (a rollBackMember) Do(ctx context.Context) error {
	r := *a.step.Restart
	r.At = a.x.o.Now().UTC()
	return a.onNodeFor(ctx, restartTimeout, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		if err := a.store().PutRestart(ctx, a.cluster(), r); err != nil {
			return err
		}
		if err := h.InstallUnit(ctx, r.From); err != nil {
			return err
		}
		if err := plan.Guard(a.step, a.x.o.Observer.Etcd(ctx, a.w)); err != nil {
			return err
		}
		// A machine that starts its member by itself may have done so with the old
		// settings by now.
		if ns, err := a.observed(ctx, r.Node); err == nil && runsWith(ns, r.From) {
			return nil
		}
		return a.restart(ctx, h, r.Member)
	})
}
