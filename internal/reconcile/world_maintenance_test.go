package reconcile

import (
	"context"

	"cke/internal/cluster"
)

func (s fakeStore) AdvanceDrain(_ context.Context, _ string, _ *cluster.Drain, d cluster.Drain) error {
	s.w.do(func() { s.w.wanted.Drains = []cluster.Drain{d} })
	return nil
}

func (s fakeStore) DropDrain(context.Context, string, cluster.Drain) error {
	s.w.do(func() { s.w.wanted.Drains = nil })
	return nil
}

func (s fakeStore) AdvanceReboot(_ context.Context, _ string, _, to cluster.Reboot) error {
	s.w.do(func() { s.w.wanted.Reboot = &to })
	return nil
}
