package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Pause is who holds the cluster's steps back; nil when nobody does.
func (s *Store) Pause(ctx context.Context, name string) (*cluster.Pause, error) {
	p, err := get[cluster.Pause](ctx, s, pauseKey(name))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pause of cluster %q: %w", name, err)
	}
	return &p, nil
}

// SetPause replaces an earlier pause. ErrNotFound when there is no such cluster.
func (s *Store) SetPause(ctx context.Context, name string, p cluster.Pause) error {
	put, err := opPut(pauseKey(name), p)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name))}, put); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("pause cluster %q: %w", name, err)
	}
	return nil
}

// ClearPause lets the cluster's steps go on; nil when it was not paused.
func (s *Store) ClearPause(ctx context.Context, name string) error {
	if _, _, err := s.change(ctx, nil, clientv3.OpDelete(pauseKey(name))); err != nil {
		return fmt.Errorf("resume cluster %q: %w", name, err)
	}
	return nil
}
