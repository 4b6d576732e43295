package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// HostKey is an SSH host key that a person trusts, for one address and port.
// Clusters that share a machine share it.
type HostKey struct {
	Key string    `json:"key"` // a line of a public key file
	By  string    `json:"by"`
	At  time.Time `json:"at"`
}

// HostKey returns the key trusted for an address such as "10.0.0.1:22"; nil
// when none is.
func (s *Store) HostKey(ctx context.Context, address string) (*HostKey, error) {
	k, err := get[HostKey](ctx, s, allHostKeys+address)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the host key of %s: %w", address, err)
	}
	return &k, nil
}

// TrustHostKey keeps a key for an address. Was is the one it takes the place
// of, nil for none: ErrConflict when it is another one by now.
func (s *Store) TrustHostKey(ctx context.Context, address string, was *HostKey, k HostKey) error {
	err := checkName("host", address)
	var have HostKey
	var rev int64
	if err == nil {
		if have, rev, err = getAt[HostKey](ctx, s, allHostKeys+address); errors.Is(err, ErrNotFound) {
			err = nil
		}
	}
	if err == nil && (was == nil) != (rev == 0) || was != nil && was.Key != have.Key {
		err = ErrConflict
	}
	var put clientv3.Op
	if err == nil {
		put, err = opPut(allHostKeys+address, k)
	}
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{unchanged(allHostKeys+address, rev)}, put); err == nil && !ok {
			err = ErrConflict
		}
	}
	if err != nil {
		return fmt.Errorf("trust the host key of %s: %w", address, err)
	}
	return nil
}
