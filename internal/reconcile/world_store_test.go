package reconcile

import (
	"context"
	"fmt"
	"slices"

	"cke/internal/cluster"
	"cke/internal/record"
)

type fakeStore struct{ w *world }

func (s fakeStore) Load(context.Context, string) (Wanted, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.loads++
	return s.w.wanted, nil
}

func (s fakeStore) Append(ctx context.Context, r record.Record) (record.Record, error) {
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r.Seq = int64(len(s.w.records) + 1)
	s.w.records = append(s.w.records, r)
	return r, nil
}

func (s fakeStore) Amend(_ context.Context, r record.Record) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.records[r.Seq-1] = r
	return nil
}

func (s fakeStore) Bootstrap(context.Context, string) (b cluster.Bootstrap, err error) {
	s.w.do(func() { b = s.w.wanted.Bootstrap })
	return b, nil
}

func (s fakeStore) AdvanceBootstrap(_ context.Context, _ string, from cluster.Phase, b cluster.Bootstrap) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.wanted.Bootstrap.Phase != from {
		return fmt.Errorf("the phase is %s", s.w.wanted.Bootstrap.Phase)
	}
	s.w.wanted.Bootstrap = b
	for _, f := range b.Founders {
		if from == cluster.PhaseNew {
			s.w.members = append(s.w.members, cluster.Member{ID: f.Member, PeerURL: f.Node.PeerURL()})
		}
	}
	return nil
}

func (s fakeStore) ForgetLeaving(_ context.Context, _ string, n cluster.NodeName) error {
	s.w.do(func() {
		s.w.wanted.Leaving = slices.DeleteFunc(slices.Clone(s.w.wanted.Leaving), func(l cluster.Node) bool { return l.Hostname == n })
	})
	return nil
}

func (s fakeStore) ForgetUser(_ context.Context, _ string, u cluster.RemovedUser) error {
	s.w.do(func() {
		s.w.wanted.RemovedUsers = slices.DeleteFunc(slices.Clone(s.w.wanted.RemovedUsers), func(r cluster.RemovedUser) bool { return r == u })
	})
	return nil
}

func (s fakeStore) PutRestart(_ context.Context, _ string, r cluster.Restart) error {
	s.w.do(func() { s.w.wanted.Restart = &r })
	return nil
}

func (s fakeStore) PutSnapshot(_ context.Context, _ string, snap cluster.Snapshot) error {
	s.w.do(func() { s.w.wanted.Snapshot = &snap })
	return nil
}

func (s fakeStore) DropRestart(_ context.Context, _ string, _ cluster.Restart) error {
	s.w.do(func() { s.w.wanted.Restart = nil })
	return nil
}
