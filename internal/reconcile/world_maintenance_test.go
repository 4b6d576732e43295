package reconcile

import (
	"context"

	"cke/internal/cluster"
	"cke/internal/host"
)

func (s fakeStore) PutDrain(_ context.Context, _ string, d cluster.Drain) error {
	s.w.do(func() { s.w.wanted.Drains = []cluster.Drain{d} })
	return nil
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

func (h *fakeHost) Reboot(ctx context.Context, _ host.Reboot) error {
	return h.call(ctx, "reboot", func() error { return nil })
}
