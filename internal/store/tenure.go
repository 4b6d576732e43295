package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Tenure is a time during which this daemon is its store's leader: no other's
// write passes. With a store of its own that is as long as it is open.
type Tenure struct {
	epoch epoch
	// fence is the revision at which the epoch became ours.
	fence int64
	// session is what the others see of us; nil with a store of its own.
	session *session
	ctx     context.Context
	cancel  context.CancelCauseFunc
	// proof is made when it is asked for.
	proving sync.Once
	proof   string
}

// Epoch is higher than that of every earlier tenure of this store.
func (t *Tenure) Epoch() int64 { return t.epoch.Epoch }

// Since is when it began.
func (t *Tenure) Since() time.Time { return t.epoch.Since }

// Context ends when this daemon must not act any more: some time before another
// may become the leader, so that what is under way can come to its end.
func (t *Tenure) Context() context.Context { return t.ctx }

// Until is the moment that no effect may outlive, as far as is known now; it
// moves on while the tenure goes on. The zero time is never.
func (t *Tenure) Until() time.Time {
	if t.session == nil {
		return time.Time{}
	}
	return t.session.until()
}

// Leads says whether this daemon is in a tenure that is not about to end, by the
// clock and not by what the process has noticed.
func (s *Store) Leads() bool {
	t := s.tenure.Load()
	return t != nil && t.ctx.Err() == nil && (t.session == nil || t.session.left() > 0)
}

// Resign ends the tenure, if it has not ended by itself, and lets another begin
// at once. Whoever calls it has ended everything that acts in the tenure.
func (s *Store) Resign(ctx context.Context, t *Tenure) error {
	t.cancel(ErrNotLeader)
	s.tenure.CompareAndSwap(t, nil)
	if t.session == nil {
		return nil
	}
	return t.session.end(ctx)
}

// Lead waits until this daemon is its store's leader. With a store of its own it
// is one from Open on. Errors are those of Open, too: the store may be another
// daemon's to open.
func (s *Store) Lead(ctx context.Context) (*Tenure, error) {
	if s.embedded != nil {
		if t := s.tenure.Load(); t != nil {
			return t, nil
		}
		return nil, ErrNotLeader
	}
	session, err := s.campaign(ctx)
	if err != nil {
		return nil, fmt.Errorf("become leader: %w", err)
	}
	if err := s.takeOver(ctx, session); err != nil {
		s.tenure.Store(nil)
		_ = session.end(ctx) // if not now, then by itself
		return nil, fmt.Errorf("become leader: %w", err)
	}
	return s.tenure.Load(), nil
}

// takeOver makes the first of the sessions the store's leader, and the store one
// this cke can work with.
func (s *Store) takeOver(ctx context.Context, session *session) error {
	if err := s.whole(ctx); err != nil {
		return err
	}
	version, err := s.checkSchema(ctx, len(s.migrations))
	if err != nil {
		return err
	}
	if err := s.checkSealKey(ctx); err != nil {
		return err
	}
	if err := s.claimEpoch(ctx, session); err != nil {
		return err
	}
	if err := s.migrate(ctx, version, s.migrations); err != nil {
		return err
	}
	return s.identify(ctx)
}
