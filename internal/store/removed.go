package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// RemoveUser takes a tenant out, remembers it as removed until ForgetUser, and
// marks its bundles as Removing, all in one transaction. It returns those bundles.
// Errors: ErrNotFound (no such cluster), *UnknownUserError, which root and
// kube-apiserver are too.
func (s *Store) RemoveUser(ctx context.Context, name, user string) (bundles []cluster.Bundle, err error) {
	err = checkName("user", user)
	for done := false; err == nil && !done; {
		var now stored
		if now, err = s.stored(ctx, name); err != nil {
			break
		}
		if now.Revision == 0 {
			err = ErrNotFound
			break
		}
		i := slices.IndexFunc(now.Users, func(u cluster.User) bool { return u.Name == user })
		if i < 0 {
			err = &UnknownUserError{User: user}
			break
		}
		var ops []clientv3.Op
		if ops, bundles, err = s.removalOps(name, now.Users[i], now.Bundles); err != nil {
			break
		}
		// Not done without an error: a bundle was added in between, or another
		// removed the user. One that was dropped meanwhile is only dropped again.
		_, done, err = s.change(ctx, []clientv3.Cmp{
			exist(userKey(name, user)), unchangedSince(userKeys(name), now.at), unchangedSince(bundleKeys(name), now.at),
		}, ops...)
	}
	if err != nil {
		return nil, fmt.Errorf("remove user %q of cluster %q: %w", user, name, err)
	}
	return bundles, nil
}

func (s *Store) removalOps(name string, u cluster.User, all []cluster.Bundle) (ops []clientv3.Op, bundles []cluster.Bundle, err error) {
	put, err := opPut(removedKey(name, u.Name), cluster.RemovedUser{User: u, At: s.now().UTC()})
	if err != nil {
		return nil, nil, err
	}
	ops = []clientv3.Op{clientv3.OpDelete(userKey(name, u.Name)), put}
	for _, b := range all {
		if b.User != u.Name {
			continue
		}
		b.Removing = true
		if put, err = opPut(bundleKey(name, b.Namespace, b.Name), b); err != nil {
			return nil, nil, err
		}
		ops, bundles = append(ops, put), append(bundles, b)
	}
	return ops, bundles, nil
}

// ForgetUser drops the memory of this one removal; nil when it is dropped already,
// or the user was added again, or removed once more since.
func (s *Store) ForgetUser(ctx context.Context, name string, u cluster.RemovedUser) error {
	key := removedKey(name, u.Name)
	value, err := json.Marshal(u)
	if err == nil {
		_, _, err = s.change(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(value))}, clientv3.OpDelete(key))
	}
	if err != nil {
		return fmt.Errorf("forget user %q of cluster %q: %w", u.Name, name, err)
	}
	return nil
}
