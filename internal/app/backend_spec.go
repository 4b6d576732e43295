package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/store"
)

func (b backend) Spec(ctx context.Context, name string) (cluster.Spec, int64, error) {
	s, rev, err := b.store.Spec(ctx, name)
	// One stored by an older cke says nothing of what is new since.
	return s.WithDefaults(), rev, notFound(err, name)
}

func (b backend) SpecYAML(ctx context.Context, name string) ([]byte, error) {
	s, _, err := b.Spec(ctx, name)
	if err != nil {
		return nil, err
	}
	return config.MarshalCluster(s)
}

// PutSpec checks everything before it writes anything: the file by itself, then
// against what there is.
func (b backend) PutSpec(ctx context.Context, name string, yaml []byte) (api.SpecChange, error) {
	began := time.Now()
	spec, warnings, err := config.ParseCluster(name, yaml)
	if err != nil {
		return api.SpecChange{}, api.Invalid(err.Error(), "nothing was changed")
	}
	change := api.SpecChange{Cluster: spec.Name, Warnings: texts(warnings)}
	if err := b.setSpec(ctx, name, yaml, spec, &change); err != nil {
		return api.SpecChange{}, err
	}
	if !change.Changed {
		return change, nil
	}
	if err := b.note(ctx, spec.Name, "cluster set", describe(change), nil, began); err != nil {
		return change, err
	}
	c, err := b.careFor(ctx, spec.Name)
	if err != nil {
		return change, err
	}
	c.loop.Wake()
	return change, nil
}

// setSpec checks a spec against what there is and stores it, one at a time.
func (b backend) setSpec(ctx context.Context, file string, yaml []byte, spec cluster.Spec, change *api.SpecChange) error {
	select {
	case b.setting <- struct{}{}:
		defer func() { <-b.setting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ifRevision, err := b.checkChange(ctx, file, yaml, spec, change)
	if err != nil {
		return err
	}
	if change.Created {
		if err := createAuthority(ctx, b.store, spec.Name, time.Now()); err != nil {
			return err
		}
	}
	change.Revision, change.Changed, err = b.store.PutSpec(ctx, spec, ifRevision)
	if errors.Is(err, store.ErrConflict) {
		return api.Refused("the cluster's spec was changed by someone else meanwhile", "look at it with ckecli cluster get and try again")
	}
	return err
}

// checkChange compares a spec with the present one and returns the revision the
// write depends on.
func (b backend) checkChange(ctx context.Context, file string, yaml []byte, spec cluster.Spec, change *api.SpecChange) (int64, error) {
	old, err := b.store.Load(ctx, spec.Name)
	if errors.Is(err, store.ErrNotFound) {
		change.Created = true
		return 0, b.checkAddresses(ctx, spec)
	}
	if err != nil {
		return 0, err
	}
	if old.Bootstrap.Phase == cluster.PhaseNew {
		// Nothing runs yet, so a version that cannot be installed can be corrected.
		old.Spec.Etcd.Version = spec.Etcd.Version
	}
	warnings, err := config.LocateProblems(file, yaml, spec.ValidateChange(old.Spec, old.Leaving))
	if err != nil {
		return 0, api.Invalid(err.Error(), "nothing was changed")
	}
	change.Warnings = append(change.Warnings, texts(warnings)...)
	return old.Revision, b.checkAddresses(ctx, spec)
}

// checkAddresses refuses a node that another cluster has: members of two
// clusters would fight over the ports and, on this machine, the directory.
func (b backend) checkAddresses(ctx context.Context, spec cluster.Spec) error {
	return b.eachCluster(ctx, func(ctx context.Context, name string) error {
		if name == spec.Name {
			return nil
		}
		other, err := b.store.Load(ctx, name)
		if err != nil {
			return err
		}
		for _, have := range slices.Concat(other.Spec.Nodes, other.Leaving) {
			for _, n := range spec.Nodes {
				if n.Address == have.Address || n.Hostname == have.Hostname {
					return api.Invalid("node "+string(n.Hostname)+" ("+n.Address.String()+") belongs to cluster "+name+
						" as "+string(have.Hostname)+" ("+have.Address.String()+")", "a host carries one cluster; nothing was changed")
				}
			}
		}
		return nil
	})
}

// texts are warnings with their places, without the word: where they go says it.
func texts(warnings []config.Problem) []string {
	var out []string
	for _, w := range warnings {
		w.Warning = false
		out = append(out, w.String())
	}
	return out
}

func describe(c api.SpecChange) string {
	if c.Created {
		return "the cluster is new"
	}
	return "the spec was changed"
}
