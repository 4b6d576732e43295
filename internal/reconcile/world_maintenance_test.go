package reconcile

import (
	"context"
	"slices"

	"cke/internal/cluster"
	"cke/internal/host"
)

func (s fakeStore) ChangeDrain(_ context.Context, _ string, from *cluster.Drain, to cluster.Drain) (still bool, _ error) {
	s.w.do(func() {
		have := s.w.wanted.Drains
		if still = from == nil && len(have) == 0 || from != nil && slices.Contains(have, *from); still {
			s.w.wanted.Drains = []cluster.Drain{to}
		}
	})
	return still, nil
}

func (s fakeStore) DropDrain(context.Context, string, cluster.Drain) error {
	s.w.do(func() { s.w.wanted.Drains = nil })
	return nil
}

func (s fakeStore) AdvanceReboot(_ context.Context, _ string, _, to cluster.Reboot) (still bool, _ error) {
	s.w.do(func() {
		if still = s.w.wanted.Reboot != nil; still {
			s.w.wanted.Reboot = &to
		}
	})
	return still, nil
}

func (s fakeStore) TellReboot(ctx context.Context, name string, from, to cluster.Reboot, drains []cluster.Drain) (bool, error) {
	same := false
	s.w.do(func() { same = slices.Equal(s.w.wanted.Drains, drains) })
	if !same {
		return false, nil
	}
	return s.AdvanceReboot(ctx, name, from, to)
}

func (h *fakeHost) Reboot(ctx context.Context, _ host.Reboot) error {
	return h.call(ctx, "reboot", func() error { return nil })
}
