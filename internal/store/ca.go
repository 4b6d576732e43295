package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Authority is a certificate authority's certificate and private key, as the
// caller encodes them.
type Authority struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// CAs returns authorities of a cluster by role, in one round trip. Errors: ErrNotFound,
// and the sealer's when a value was sealed with another key or tampered with.
func (s *Store) CAs(ctx context.Context, name string, roles []string) (map[string]Authority, error) {
	ops := make([]clientv3.Op, len(roles))
	for i, role := range roles {
		ops[i] = clientv3.OpGet(caKey(name, role))
	}
	_, ranges, err := s.read(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("read authorities of cluster %q: %w", name, err)
	}
	out := map[string]Authority{}
	for i, role := range roles {
		var a Authority
		err := ErrNotFound
		if len(ranges[i]) > 0 {
			a, err = s.unseal(caKey(name, role), ranges[i][0].GetValue())
		}
		if err != nil {
			return nil, fmt.Errorf("read %s authority of cluster %q: %w", role, name, err)
		}
		out[role] = a
	}
	return out, nil
}

func (s *Store) unseal(key string, sealed []byte) (a Authority, err error) {
	plain, err := s.sealer.Open(sealed, key)
	if err != nil {
		return a, err
	}
	if json.Unmarshal(plain, &a) != nil {
		// The decoder's own text could quote the key.
		return a, fmt.Errorf("decode %s: it is not an authority", key)
	}
	return a, nil
}

// CreateCAs stores all authorities of a cluster, by role, in one transaction.
// They are never replaced: ErrExists, and nothing is written, if there is any.
func (s *Store) CreateCAs(ctx context.Context, name string, roles map[string]Authority) error {
	if err := s.createCAs(ctx, name, roles); err != nil {
		return fmt.Errorf("create authorities of cluster %q: %w", name, err)
	}
	return nil
}

func (s *Store) createCAs(ctx context.Context, name string, roles map[string]Authority) error {
	if err := checkName("cluster", name); err != nil {
		return err
	}
	none := clientv3.Compare(clientv3.CreateRevision(caKeys(name)).WithPrefix(), "=", 0)
	var puts []clientv3.Op
	for role, a := range roles {
		if err := checkName("role", role); err != nil {
			return err
		}
		plain, err := json.Marshal(a)
		if err != nil {
			return err
		}
		sealed, err := s.sealer.Seal(plain, caKey(name, role))
		if err != nil {
			return fmt.Errorf("seal %s authority: %w", role, err)
		}
		puts = append(puts, clientv3.OpPut(caKey(name, role), string(sealed)))
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{none}, puts...)
	if err == nil && !ok {
		err = ErrExists
	}
	return err
}
