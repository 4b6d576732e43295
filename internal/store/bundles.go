package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// AddBundle adds a Secret of a user's. False without an error: it is there
// already, just so. One that is being removed is taken over, whoever's it was.
// Errors: ErrNotFound (no such cluster), *UnknownUserError, *BundleExistsError
// (another user's, or with another ttl).
func (s *Store) AddBundle(ctx context.Context, name string, b cluster.Bundle) (created bool, err error) {
	b.Removing = false
	key := bundleKey(name, b.Namespace, b.Name)
	err = errors.Join(checkName("namespace", b.Namespace), checkName("bundle", b.Name), checkName("user", b.User))
	for err == nil && !created {
		var now stored
		if now, err = s.stored(ctx, name); err != nil {
			break
		}
		if now.Revision == 0 {
			err = ErrNotFound
			break
		}
		var there bool
		if there, err = admitBundle(b, now); err != nil || there {
			break
		}
		var put clientv3.Op
		if put, err = opPut(key, b); err != nil {
			break
		}
		// Not created without an error: the bundle or its user came or went in between.
		_, created, err = s.change(ctx, []clientv3.Cmp{
			exist(specKey(name)), exist(userKey(name, b.User)), unchangedSince(key, now.at),
		}, put)
	}
	if err != nil {
		return false, fmt.Errorf("add bundle %s to cluster %q: %w", b.Key(), name, err)
	}
	return created, nil
}

// admitBundle says whether b is there already, and if not, whether it may be.
func admitBundle(b cluster.Bundle, now stored) (there bool, err error) {
	known := false
	for _, u := range now.Users {
		known = known || u.Name == b.User
	}
	if !known {
		return false, &UnknownUserError{User: b.User}
	}
	for _, have := range now.Bundles {
		switch {
		case have.Key() != b.Key() || have.Removing:
		case have == b:
			return true, nil
		default:
			return false, &BundleExistsError{Have: have}
		}
	}
	return false, nil
}

// RemoveBundle marks a bundle as Removing and returns it; its record goes with
// ForgetBundle. Errors: ErrNotFound (no such cluster), *UnknownBundleError.
func (s *Store) RemoveBundle(ctx context.Context, name, namespace, secret string) (b cluster.Bundle, err error) {
	b = cluster.Bundle{Namespace: namespace, Name: secret}
	key := bundleKey(name, namespace, secret)
	for done := false; err == nil && !done; {
		if _, _, err = s.Spec(ctx, name); err != nil {
			break
		}
		var rev int64
		var have cluster.Bundle
		have, rev, err = getAt[cluster.Bundle](ctx, s, key)
		if errors.Is(err, ErrNotFound) {
			err = &UnknownBundleError{Key: b.Key()}
		}
		if err != nil {
			break
		}
		b, b.Removing = have, true
		var put clientv3.Op
		if put, err = opPut(key, b); err == nil {
			_, done, err = s.change(ctx, []clientv3.Cmp{unchanged(key, rev)}, put)
		}
	}
	if err != nil {
		return cluster.Bundle{}, fmt.Errorf("remove bundle %s of cluster %q: %w", b.Key(), name, err)
	}
	return b, nil
}

// ForgetBundle drops a bundle that is being removed; nil when it is dropped
// already, or was added again meanwhile.
func (s *Store) ForgetBundle(ctx context.Context, name, namespace, secret string) error {
	key := bundleKey(name, namespace, secret)
	have, rev, err := getAt[cluster.Bundle](ctx, s, key)
	if errors.Is(err, ErrNotFound) || err == nil && !have.Removing {
		return nil
	}
	if err == nil {
		// Changed in between: it was added again.
		_, _, err = s.change(ctx, []clientv3.Cmp{unchanged(key, rev)}, clientv3.OpDelete(key))
	}
	if err != nil {
		return fmt.Errorf("forget bundle %s/%s of cluster %q: %w", namespace, secret, name, err)
	}
	return nil
}
