package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Bootstrap is how far a cluster's one bootstrap came; the zero value before.
func (s *Store) Bootstrap(ctx context.Context, name string) (cluster.Bootstrap, error) {
	b, err := get[cluster.Bootstrap](ctx, s, bootstrapKey(name))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return b, fmt.Errorf("read bootstrap of cluster %q: %w", name, err)
	}
	return b, nil
}

// AdvanceBootstrap takes a cluster one phase on: from new to bootstrapping, or
// from bootstrapping to bootstrapped. ErrConflict when the stored phase is not
// `from`; any other pair of phases is refused. Token and founders are written
// once: b may leave them out when it finishes, and may not change them.
// ErrNotFound when there is no such cluster.
func (s *Store) AdvanceBootstrap(ctx context.Context, name string, from cluster.Phase, b cluster.Bootstrap) error {
	if err := s.advance(ctx, name, from, b); err != nil {
		return fmt.Errorf("record cluster %q as %s: %w", name, b.Phase, err)
	}
	return nil
}

func (s *Store) advance(ctx context.Context, name string, from cluster.Phase, b cluster.Bootstrap) error {
	if next, ok := nextPhase(from); !ok || b.Phase != next {
		return fmt.Errorf("phase %q does not follow %q", b.Phase, from)
	}
	if from == cluster.PhaseNew && b.Token == "" {
		return errors.New("the bootstrap has no token")
	}
	old, rev, err := getAt[cluster.Bootstrap](ctx, s, bootstrapKey(name))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if old.Phase != from {
		return fmt.Errorf("it is %q, not %q: %w", old.Phase, from, ErrConflict)
	}
	if from != cluster.PhaseNew {
		if b.Token == "" {
			b.Token, b.Founders = old.Token, old.Founders
		}
		if b.Token != old.Token {
			return errors.New("the token is not the one it began with")
		}
	}
	specRev, err := s.foundersBelong(ctx, name, from, b)
	if err != nil {
		return err
	}
	put, err := opPut(bootstrapKey(name), b)
	if err != nil {
		return err
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{unchanged(bootstrapKey(name), rev), unchanged(specKey(name), specRev)}, put)
	if err != nil || ok {
		return err
	}
	if _, _, err := s.Spec(ctx, name); err != nil {
		return err
	}
	return ErrConflict
}

// foundersBelong checks a beginning against the spec, and returns the spec's
// revision for the transaction: an edit in between must not leave founders that
// no spec knows.
func (s *Store) foundersBelong(ctx context.Context, name string, from cluster.Phase, b cluster.Bootstrap) (int64, error) {
	spec, rev, err := s.Spec(ctx, name)
	if err != nil || from != cluster.PhaseNew {
		return rev, err
	}
	for _, f := range b.Founders {
		if !slices.Contains(spec.Nodes, f.Node) {
			return 0, fmt.Errorf("founder %s is not in the spec any more: %w", f.Node.Hostname, ErrConflict)
		}
	}
	return rev, nil
}

func nextPhase(p cluster.Phase) (cluster.Phase, bool) {
	switch p {
	case cluster.PhaseNew:
		return cluster.PhaseBootstrapping, true
	case cluster.PhaseBootstrapping:
		return cluster.PhaseBootstrapped, true
	default:
		return "", false
	}
}
