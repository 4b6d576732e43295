package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// sessionTTL is how long a daemon that died stays the leader.
	sessionTTL = 6 * time.Second
	// sessionMargin is how long before its lease can expire a leader ends what it
	// does: what it has sent must have been carried out or refused by then.
	sessionMargin = 2 * time.Second
	// renewEvery leaves room for a store whose own leader has just died.
	renewEvery = time.Second
	// renewPatience bounds one attempt; the next may ask another member.
	renewPatience = time.Second
)

// session is a daemon's place in the line for the lead: a key that lives as long
// as its lease is renewed. The first in line, by the keys' age, is the leader.
type session struct {
	store   *Store
	lease   clientv3.LeaseID
	key     string
	created int64 // the key's create revision

	ctx    context.Context // ends with the lease, or a margin before it may
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when nothing renews it any more

	mu     sync.Mutex
	expiry time.Time // the earliest moment at which the store may let the lease go
}

// enrol stands in line.
func (s *Store) enrol(ctx context.Context) (*session, error) {
	self, err := json.Marshal(s.self)
	if err != nil {
		return nil, fmt.Errorf("encode what this cke says of itself: %w", err)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	asked := s.now()
	lease, err := s.client.Grant(ctx, int64(sessionTTL/time.Second))
	if err != nil {
		return nil, fmt.Errorf("get a lease of the store: %w", s.explain(err))
	}
	n := &session{
		store: s, lease: lease.ID, done: make(chan struct{}),
		key:    allLeaders + strconv.FormatInt(int64(lease.ID), 16),
		expiry: asked.Add(time.Duration(lease.TTL) * time.Second),
	}
	n.ctx, n.cancel = context.WithCancelCause(s.ctx)
	resp, err := s.client.Put(ctx, n.key, string(self), clientv3.WithLease(lease.ID))
	if err != nil {
		close(n.done)
		_ = n.end(ctx) // the lease ends by itself
		return nil, fmt.Errorf("stand in line for the lead: %w", s.explain(err))
	}
	n.created = resp.Header.Revision
	s.watchers.Go(n.renew)
	return n, nil
}

// until is a margin before the lease may be gone.
func (n *session) until() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.expiry.Add(-sessionMargin)
}

// renew keeps the lease until the session ends, or until it is in doubt: from
// then on the session is over, whatever the store says later.
func (n *session) renew() {
	defer close(n.done)
	again := time.NewTicker(renewEvery)
	defer again.Stop()
	for {
		left := time.NewTimer(n.left())
		select {
		case <-n.ctx.Done():
			left.Stop()
			return
		case <-left.C:
			n.cancel(fmt.Errorf("the store did not renew this cke's lease in time: %w", ErrNotLeader))
			return
		case <-again.C:
			left.Stop()
		}
		if err := n.renewOnce(); errors.Is(err, rpctypes.ErrLeaseNotFound) {
			n.cancel(fmt.Errorf("the store has let this cke's lease go: %w", ErrNotLeader))
			return
		}
	}
}

// left is how long the session lasts. The clock on the wall counts too: a machine
// that slept has spent time of which the other clock knows nothing.
func (n *session) left() time.Duration {
	until, now := n.until(), n.store.now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

func (n *session) renewOnce() error {
	if n.left() <= 0 {
		return nil // it is over
	}
	ctx, cancel := context.WithTimeout(n.ctx, min(renewPatience, n.left()))
	defer cancel()
	asked := n.store.now()
	resp, err := n.store.client.KeepAliveOnce(ctx, n.lease)
	if err != nil {
		return err // until it is too late, only one attempt
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// In doubt once is over for good: others may have been told.
	if until := n.expiry.Add(-sessionMargin); n.store.now().Before(until) {
		n.expiry = asked.Add(time.Duration(resp.TTL) * time.Second)
	}
	return nil
}

// resignPatience bounds how long a leader that goes tries to say so.
const resignPatience = 2 * time.Second

// end leaves the line at once.
func (n *session) end(ctx context.Context) error {
	n.cancel(ErrNotLeader)
	<-n.done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignPatience)
	defer cancel()
	_, err := n.store.client.Revoke(ctx, n.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	return nil
}
