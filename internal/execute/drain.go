package execute

import (
	"context"
	"fmt"
	"time"

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

// recordDrain begins or ends a drain that a reboot needs. What a person has said of
// the node since the step was decided stays.
type recordDrain struct{ target }

func (a recordDrain) Done(context.Context) (bool, error) { return false, nil }

func (a recordDrain) Do(ctx context.Context) error {
	to := *a.step.Drain
	var from *cluster.Drain
	if to.Over() {
		begun := to
		begun.Ended = time.Time{}
		from = &begun
	}
	_, err := a.store().ChangeDrain(ctx, a.cluster(), from, to)
	return err
}

// rebootMachine tells a machine to reboot. That it was told is written down first,
// with the boot that is to end: a machine that runs another one was rebooted.
type rebootMachine struct{ target }

func (a rebootMachine) Done(ctx context.Context) (bool, error) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	return ns.Boot != a.step.Reboot.Boot, err
}

func (a rebootMachine) Do(ctx context.Context) error {
	to := *a.step.Reboot
	if to.Boot == a.x.o.Boot {
		return fmt.Errorf("reboot %s: cke itself runs on its machine", a.step.Nodes[0])
	}
	to.Told = a.x.o.Now().UTC()
	return a.onNode(ctx, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		// Whoever was told that the reboot is cancelled must not see it happen, nor who has
		// drained a node since that was decided.
		if still, err := a.store().TellReboot(ctx, a.cluster(), *a.w.Reboot, to, a.w.Drains); err != nil || !still {
			return err
		}
		return h.Reboot(ctx, host.Reboot{Boot: to.Boot})
	})
}

// finishReboot ends the turn of one machine.
type finishReboot struct{ target }

func (a finishReboot) Done(context.Context) (bool, error) { return false, nil }

func (a finishReboot) Do(ctx context.Context) error {
	_, err := a.store().AdvanceReboot(ctx, a.cluster(), *a.w.Reboot, a.step.Reboot.After(a.step.Nodes[0]))
	return err
}
