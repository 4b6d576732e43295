package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/pki"
	"cke/internal/store"
)

func (b backend) Bundles(ctx context.Context, name string) ([]cluster.Bundle, error) {
	snap, err := b.store.Load(ctx, name)
	return snap.Bundles, notFound(err, name)
}

// AddBundle returns when the bundle is recorded; Kubernetes follows when it can.
func (b backend) AddBundle(ctx context.Context, name string, want cluster.Bundle) (api.BundleChange, error) {
	began := time.Now()
	if err := cluster.ValidateBundle(want); err != nil {
		return api.BundleChange{}, api.Invalid(err.Error(), "nothing was changed")
	}
	c, err := b.founded(ctx, name)
	if err != nil {
		return api.BundleChange{}, err
	}
	if longest := time.Until(c.authority.Client.NotAfter()); want.TTL.Std() > longest {
		tooLong := &pki.TTLError{TTL: want.TTL.Std(), Max: longest.Truncate(time.Second)}
		return api.BundleChange{}, api.Invalid(tooLong.Error(), "nothing was changed; choose a shorter --ttl")
	}
	created, err := b.store.AddBundle(ctx, name, want)
	var unknown *store.UnknownUserError
	var exists *store.BundleExistsError
	switch {
	case errors.As(err, &unknown):
		return api.BundleChange{}, api.NotFound(fmt.Sprintf("there is no user %q in cluster %s", want.User, name), "ckecli etcd user-add USER PREFIX makes one")
	case errors.As(err, &exists):
		return api.BundleChange{}, api.Refused(exists.Error(), "nothing was changed; choose another --name, or first: ckecli kubernetes bundle remove "+want.Key())
	case err != nil:
		return api.BundleChange{}, err
	}
	change := api.BundleChange{Bundle: want, Changed: created}
	if published, err := b.published(ctx, name); err != nil {
		return change, err
	} else if !published {
		change.Warnings = []string{"cluster.yml has no kubernetes.kubeconfig: no Secret is made until it has"}
	}
	if created {
		action := fmt.Sprintf("bundle add %s %s --ttl %s", want.User, want.Key(), want.TTL)
		err = b.note(ctx, name, action, "", nil, began)
		c.loop.Wake()
	}
	return change, err
}

// RemoveBundle returns when the removal is recorded. The record of it goes with the
// Secret, or at once where CKE has no Kubernetes to take a Secret from.
func (b backend) RemoveBundle(ctx context.Context, name, namespace, secret string) (api.BundleChange, error) {
	began := time.Now()
	c, err := b.care(ctx, name)
	if err != nil {
		return api.BundleChange{}, err
	}
	gone, err := b.store.RemoveBundle(ctx, name, namespace, secret)
	var unknown *store.UnknownBundleError
	if errors.As(err, &unknown) {
		return api.BundleChange{}, api.NotFound(fmt.Sprintf("cluster %s has no bundle %s", name, unknown.Key), "ckecli kubernetes bundle list")
	}
	if err != nil {
		return api.BundleChange{}, err
	}
	change := api.BundleChange{Bundle: gone, Changed: true}
	published, err := b.published(ctx, name)
	if err == nil && !published {
		change.Warnings = []string{"cluster.yml has no kubernetes.kubeconfig: a Secret that was made before is left where it is"}
		err = b.store.ForgetBundle(ctx, name, namespace, secret)
	}
	err = b.note(ctx, name, "bundle remove "+gone.Key(), "", err, began)
	c.loop.Wake()
	return change, err
}

// published says whether the spec names a Kubernetes.
func (b backend) published(ctx context.Context, name string) (bool, error) {
	spec, _, err := b.store.Spec(ctx, name)
	return spec.Kubernetes.Kubeconfig != "", err
}
