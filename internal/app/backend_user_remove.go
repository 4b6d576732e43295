package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/reconcile"
	"cke/internal/store"
)

// RemoveUser returns when etcd knows neither the user nor its role; to remove one
// again that is being removed only waits for it.
func (b backend) RemoveUser(ctx context.Context, name, user string) (api.UserRemoval, error) {
	began := time.Now()
	if user == cluster.RootUser || user == cluster.APIServerUser {
		return api.UserRemoval{}, api.Refused(fmt.Sprintf("user %s is not removed: every cluster has it", user), "nothing was changed")
	}
	c, err := b.founded(ctx, name)
	if err != nil {
		return api.UserRemoval{}, err
	}
	if _, err := quorate(ctx, c.loop); err != nil {
		return api.UserRemoval{}, err
	}
	bundles, err := b.store.RemoveUser(ctx, name, user)
	var unknown *store.UnknownUserError
	switch {
	case errors.As(err, &unknown):
		if bundles, err = b.removedBefore(ctx, name, user); err != nil {
			return api.UserRemoval{}, err
		}
	case err != nil:
		return api.UserRemoval{}, err
	default:
		// Whoever asked may be gone by now; that access was taken is recorded all the same.
		if err := b.note(ctx, name, "user-remove "+user, "", nil, began); err != nil {
			return api.UserRemoval{}, err
		}
	}
	going, err := b.leave(ctx, name, bundles)
	if err != nil {
		return api.UserRemoval{}, err
	}
	return api.UserRemoval{Bundles: keys(going)}, awaitRemoval(ctx, c.loop, user)
}

// leave returns the bundles whose Secrets go. Where CKE has no Kubernetes to take
// them from only the records do.
func (b backend) leave(ctx context.Context, name string, bundles []cluster.Bundle) ([]cluster.Bundle, error) {
	if published, err := b.published(ctx, name); err != nil || published {
		return bundles, err
	}
	for _, gone := range bundles {
		if err := b.store.ForgetBundle(ctx, name, gone.Namespace, gone.Name); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// removedBefore returns the bundles of a user that is being removed already.
func (b backend) removedBefore(ctx context.Context, name, user string) ([]cluster.Bundle, error) {
	snap, err := b.store.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(snap.RemovedUsers, func(u cluster.RemovedUser) bool { return u.Name == user }) {
		return nil, api.NotFound(fmt.Sprintf("there is no user %q in cluster %s", user, name),
			"ckecli etcd user-list shows CKE's; one that was made by hand is taken away with etcdctl as root")
	}
	return slices.DeleteFunc(snap.Bundles, func(b cluster.Bundle) bool { return b.User != user || !b.Removing }), nil
}

func keys(bundles []cluster.Bundle) []string {
	var names []string
	for _, b := range bundles {
		names = append(names, b.Key())
	}
	return names
}

// awaitRemoval waits until the loop has seen that etcd knows the user no more.
func awaitRemoval(ctx context.Context, l *reconcile.Loop, user string) error {
	ctx, cancel := context.WithTimeout(ctx, userPatience)
	defer cancel()
	l.Wake()
	err := awaitView(ctx, l, func(v reconcile.View) bool {
		return !slices.ContainsFunc(v.Wanted.Users, func(u cluster.User) bool { return u.Name == user }) &&
			!slices.ContainsFunc(v.Wanted.RemovedUsers, func(u cluster.RemovedUser) bool { return u.Name == user })
	})
	if err == nil {
		return nil
	}
	return &api.Error{
		Code:    api.CodeFailed,
		Message: fmt.Sprintf("the removal of user %s is recorded, but etcd may still know it: %v", user, err),
		Hint:    "CKE goes on trying; ckecli status tells what holds it up",
	}
}
