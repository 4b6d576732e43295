package sim

import (
	"context"
	"reflect"
	"slices"

	"cke/internal/cluster"
)

// ChangeDrain implements execute.Store.
func (s store) ChangeDrain(ctx context.Context, _ string, from *cluster.Drain, to cluster.Drain) (still bool, err error) {
	f := &s.c.w.shelf
	err = s.change(ctx, "record the drain of "+string(to.Node), func() error {
		others := without(f.drains, to.Node)
		if still = from == nil && len(others) == len(f.drains) || from != nil && slices.Contains(f.drains, *from); still {
			f.drains = slices.Concat(others, []cluster.Drain{to})
			if !to.Over() {
				s.c.w.drainedAt[to.Node] = s.c.w.raft.at
			}
		}
		return nil
	})
	return still, err
}

// DropDrain implements execute.Store.
func (s store) DropDrain(ctx context.Context, _ string, d cluster.Drain) error {
	f := &s.c.w.shelf
	return s.change(ctx, "drop the drain of "+string(d.Node), func() error {
		if slices.Contains(f.drains, d) {
			s.c.w.judgeDropDrain(d)
			f.drains = without(f.drains, d.Node)
		}
		return nil
	})
}

// AdvanceReboot implements execute.Store.
func (s store) AdvanceReboot(ctx context.Context, _ string, from, to cluster.Reboot) (still bool, err error) {
	f := &s.c.w.shelf
	err = s.change(ctx, "record how far the reboots are", func() error {
		if still = f.reboot != nil && reflect.DeepEqual(*f.reboot, from); still {
			f.reboot = nil
			if _, more := to.Next(); more {
				f.reboot = &to
			}
		}
		return nil
	})
	return still, err
}

// TellReboot implements execute.Store.
func (s store) TellReboot(ctx context.Context, _ string, from, to cluster.Reboot, drains []cluster.Drain) (still bool, err error) {
	f := &s.c.w.shelf
	err = s.change(ctx, "record that a machine is told to reboot", func() error {
		if still = f.reboot != nil && reflect.DeepEqual(*f.reboot, from) && slices.Equal(f.drains, drains); still {
			f.reboot = &to
		}
		return nil
	})
	return still, err
}

func without(drains []cluster.Drain, n cluster.NodeName) []cluster.Drain {
	return slices.DeleteFunc(slices.Clone(drains), func(d cluster.Drain) bool { return d.Node == n })
}
