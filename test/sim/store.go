package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/reconcile"
	"cke/internal/record"
	"cke/internal/release"
)

// shelf is what cke's store holds.
type shelf struct {
	epoch    int64
	revision int64
	spec     cluster.Spec
	boot     cluster.Bootstrap
	leaving  []cluster.Node
	users    []cluster.User
	removed  []cluster.RemovedUser
	paused   *cluster.Pause
	restart  *cluster.Restart
	defrag   []cluster.DefragRequest
	drains   []cluster.Drain
	reboot   *cluster.Reboot
	snapshot *cluster.Snapshot
	records  []record.Record
	edited   time.Time
	// everUsers are those that were ever wanted.
	everUsers []cluster.User
}

// store is the store as one daemon sees it.
type store struct{ c *CKE }

var errDeposed = errors.New("a newer leader has taken over")

// write changes the store, which refuses a deposed leader.
func (s store) write(ctx context.Context, what string, do func() error) error {
	if err := s.pass(ctx, what); err != nil {
		return err
	}
	w := s.c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	switch {
	case s.c.dead:
		return errKilled
	case s.c.epoch != w.shelf.epoch:
		return errDeposed
	}
	return do()
}

// change is a write that is an effect.
func (s store) change(ctx context.Context, what string, do func() error) error {
	return s.write(ctx, what, func() error { return s.c.effect(what, do) })
}

func (s store) pass(ctx context.Context, what string) error {
	return s.c.pass(ctx, what, "store", 200*time.Microsecond, 2*time.Millisecond)
}

// Load implements reconcile.Store.
func (s store) Load(ctx context.Context, _ string) (reconcile.Wanted, error) {
	s.c.looks()
	return s.load(ctx, "load")
}

// wants implements execute.Wants: a step asks anew what is wanted.
func (s store) wants(ctx context.Context) (observe.Wanted, error) {
	w, err := s.load(ctx, "ask what is wanted")
	return w.Wanted, err
}

func (s store) load(ctx context.Context, what string) (reconcile.Wanted, error) {
	if err := s.pass(ctx, what); err != nil {
		return reconcile.Wanted{}, err
	}
	w := s.c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.shelf
	return reconcile.Wanted{
		Wanted:   observe.Wanted{Spec: f.spec, Bootstrap: f.boot, Users: f.users, RemovedUsers: f.removed, Leaving: f.leaving, Paused: f.paused, Restart: f.restart, Defrag: f.defrag, Drains: f.drains, Reboot: f.reboot, Snapshot: f.snapshot},
		Revision: f.revision,
	}, nil
}

// Append implements reconcile.Store.
func (s store) Append(ctx context.Context, r record.Record) (record.Record, error) {
	f := &s.c.w.shelf
	err := s.write(ctx, "record "+r.What(), func() error {
		r.Seq = int64(len(f.records) + 1)
		f.records = append(f.records, r)
		s.c.w.judgeRecord(r)
		s.c.w.writes(s.c, r)
		return nil
	})
	return r, err
}

// Amend implements reconcile.Store.
func (s store) Amend(ctx context.Context, r record.Record) error {
	return s.write(ctx, "record "+r.What(), func() error {
		s.c.w.shelf.records[r.Seq-1] = r
		s.c.w.writes(s.c, r)
		return nil
	})
}

// Bootstrap implements execute.Store.
func (s store) Bootstrap(ctx context.Context, _ string) (cluster.Bootstrap, error) {
	if err := s.pass(ctx, "read the phase"); err != nil {
		return cluster.Bootstrap{}, err
	}
	s.c.w.mu.Lock()
	defer s.c.w.mu.Unlock()
	return s.c.w.shelf.boot, nil
}

// AdvanceBootstrap implements execute.Store.
func (s store) AdvanceBootstrap(ctx context.Context, _ string, from cluster.Phase, b cluster.Bootstrap) error {
	w := s.c.w
	return s.change(ctx, "record the phase "+string(b.Phase), func() error {
		if w.shelf.boot.Phase != from {
			return fmt.Errorf("the phase is %q", w.shelf.boot.Phase)
		}
		for _, f := range b.Founders {
			if from == cluster.PhaseNew && !slices.Contains(w.shelf.spec.Nodes, f.Node) {
				return fmt.Errorf("founder %s is not in the spec any more", f.Node.Hostname)
			}
		}
		w.judgeBootstrap(b)
		w.shelf.boot = b
		return nil
	})
}

// ForgetLeaving implements execute.Store.
func (s store) ForgetLeaving(ctx context.Context, _ string, n cluster.NodeName) error {
	f := &s.c.w.shelf
	return s.change(ctx, "forget "+string(n), func() error {
		s.c.w.judgeForget(n)
		f.leaving = slices.DeleteFunc(slices.Clone(f.leaving), func(l cluster.Node) bool { return l.Hostname == n })
		return nil
	})
}

// ForgetUser implements execute.Store.
func (s store) ForgetUser(ctx context.Context, _ string, u cluster.RemovedUser) error {
	f := &s.c.w.shelf
	return s.change(ctx, "forget user "+u.Name, func() error {
		s.c.w.judgeForgetUser(u)
		f.removed = slices.DeleteFunc(slices.Clone(f.removed), func(r cluster.RemovedUser) bool { return r == u })
		return nil
	})
}

// PutRestart implements execute.Store.
func (s store) PutRestart(ctx context.Context, _ string, r cluster.Restart) error {
	return s.change(ctx, "record the restart of "+string(r.Node), func() error {
		s.c.w.judgeRetry(r)
		s.c.w.shelf.restart = &r
		return nil
	})
}

// DropRestart implements execute.Store.
func (s store) DropRestart(ctx context.Context, _ string, r cluster.Restart) error {
	f := &s.c.w.shelf
	return s.change(ctx, "forget the restart of "+string(r.Node), func() error {
		if f.restart != nil && f.restart.At.Equal(r.At) && f.restart.Member == r.Member && f.restart.Failed == r.Failed {
			s.c.w.judgeDropRestart(r)
			f.restart = nil
		}
		return nil
	})
}

// SetSpec is what the API and the store do with a new spec, or why they do not.
func (w *World) SetSpec(spec cluster.Spec) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.setSpec(spec)
}

func (w *World) setSpec(spec cluster.Spec) error {
	f := &w.shelf
	ps := spec.Validate()
	if f.boot.Phase != cluster.PhaseNew {
		ps = append(ps, spec.ValidateChange(f.spec, f.leaving)...)
	}
	if cluster.HasErrors(ps) {
		return fmt.Errorf("%v", ps)
	}
	if f.boot.Phase != cluster.PhaseNew {
		var leaving []cluster.Node
		for _, n := range slices.Concat(f.spec.Nodes, f.leaving) {
			if !slices.ContainsFunc(spec.Nodes, func(o cluster.Node) bool { return o.Hostname == n.Hostname }) {
				leaving = append(leaving, n)
			}
		}
		slices.SortFunc(leaving, func(a, b cluster.Node) int { return a.Address.Compare(b.Address) })
		f.leaving = leaving
	}
	f.spec = spec.WithDefaults()
	f.revision++
	f.edited = time.Now()
	w.wake()
	return nil
}

// Spec is what is wanted.
func (w *World) Spec() cluster.Spec {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shelf.spec
}

// wake tells the daemons that the store has changed.
func (w *World) wake() {
	for _, c := range w.ckes {
		c.loop.Wake()
	}
}

func (w *World) addUser(u cluster.User) {
	f := &w.shelf
	if !slices.ContainsFunc(f.users, func(o cluster.User) bool { return o.Name == u.Name }) {
		f.users = append(slices.Clone(f.users), u)
		f.everUsers = append(slices.Clone(f.everUsers), u)
		f.removed = slices.DeleteFunc(slices.Clone(f.removed), func(r cluster.RemovedUser) bool { return r.Name == u.Name })
		w.wake()
	}
}

func (w *World) removeUser(name string) {
	f := &w.shelf
	i := slices.IndexFunc(f.users, func(o cluster.User) bool { return o.Name == name })
	if i < 0 {
		return
	}
	gone := f.users[i]
	f.users = slices.Delete(slices.Clone(f.users), i, i+1)
	f.removed = append(slices.Clone(f.removed), cluster.RemovedUser{User: gone, At: time.Now()})
	w.wake()
}

// Open implements execute.Releases: what is handed out is a few empty bytes.
func (w *World) Open(_ context.Context, r cluster.Release) (release.Packed, error) {
	const size = 1 << 10
	return release.Packed{
		Info:           host.Release{Version: r.Version, Arch: r.Arch, PackedSize: size},
		ReadSeekCloser: zeros{io.NewSectionReader(zeros{}, 0, size)},
	}, nil
}

type zeros struct{ io.ReadSeeker }

func (zeros) Close() error                          { return nil }
func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }
