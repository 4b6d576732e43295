package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Users are the tenants of a cluster by name, without root and kube-apiserver.
func (s *Store) Users(ctx context.Context, name string) ([]cluster.User, error) {
	_, ranges, err := s.read(ctx, clientv3.OpGet(userKeys(name), clientv3.WithPrefix()))
	if err != nil {
		return nil, fmt.Errorf("read users of cluster %q: %w", name, err)
	}
	users, err := decodeAll[cluster.User](ranges[0])
	if err != nil {
		return nil, fmt.Errorf("read users of cluster %q: %w", name, err)
	}
	return users, nil
}

// AddUser adds a tenant. False without an error: it is there already, just so.
// Errors: ErrNotFound (no such cluster), *UserExistsError (there with another
// prefix), *OverlapError (the prefix contains another user's, or is contained
// in it). Of two overlapping users added at the same time only one gets in. One
// that was removed and is added again is no longer a removed one.
func (s *Store) AddUser(ctx context.Context, name string, u cluster.User) (created bool, err error) {
	err = checkName("user", u.Name)
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
		if there, err = admit(u, now.Users); err != nil || there {
			break
		}
		var put clientv3.Op
		if put, err = opPut(userKey(name, u.Name), u); err != nil {
			break
		}
		// Not created without an error: someone else was added in between.
		_, created, err = s.change(ctx, []clientv3.Cmp{
			exist(specKey(name)), unchangedSince(userKeys(name), now.at),
		}, put, clientv3.OpDelete(removedKey(name, u.Name)))
	}
	if err != nil {
		return false, fmt.Errorf("add user %q to cluster %q: %w", u.Name, name, err)
	}
	return created, nil
}

// admit says whether u is there already, and if not, whether it may be.
func admit(u cluster.User, users []cluster.User) (there bool, err error) {
	all := append([]cluster.User{
		{Name: cluster.RootUser},
		{Name: cluster.APIServerUser, Prefix: cluster.APIServerPath},
	}, users...)
	for _, other := range all {
		if other.Name == u.Name {
			if other.Prefix != u.Prefix || other.Name == cluster.RootUser {
				return false, &UserExistsError{Have: other}
			}
			return true, nil
		}
	}
	// Root has no prefix of its own: it overlaps everybody by design.
	for _, other := range all[1:] {
		if cluster.Overlaps(u.Prefix, other.Prefix) {
			return false, &OverlapError{User: u, Other: other}
		}
	}
	return false, nil
}
