package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// schema is the value of /cke/schema.
type schema struct {
	Version int `json:"version"`
}

// migration raises the schema by one version. Its operations are committed
// together with the new version, or not at all.
type migration struct {
	name string
	ops  func(ctx context.Context, s *Store) ([]clientv3.Op, error)
}

// migrations leads from an empty store, version 0, to the newest: the one at
// index i makes version i+1. Released ones are never changed.
func migrations() []migration {
	return []migration{
		{"found the store", found},
	}
}

// found gives the store its identity, unless it has one.
func found(ctx context.Context, s *Store) ([]clientv3.Op, error) {
	_, err := get[string](ctx, s, keyStoreID)
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("make store id: %w", err)
	}
	putID, err := opPut(keyStoreID, hex.EncodeToString(id))
	if err != nil {
		return nil, err
	}
	putKey, err := opPut(keySealKey, s.sealer.ID())
	return []clientv3.Op{putID, putKey}, err
}

// checkSchema returns the store's version, 0 when it is empty. It runs before
// anything is written.
func (s *Store) checkSchema(ctx context.Context, newest int) (int, error) {
	have, err := get[schema](ctx, s, keySchema)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, fmt.Errorf("read store schema: %w", err)
	}
	if have.Version > newest {
		return 0, &SchemaError{What: s.place, Have: have.Version, Know: newest}
	}
	return have.Version, nil
}

func (s *Store) checkSealKey(ctx context.Context) error {
	id, err := get[string](ctx, s, keySealKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read id of the store's seal key: %w", err)
	case id != s.sealer.ID():
		return &SealKeyError{What: s.place, Want: id, Have: s.sealer.ID(), Shared: s.Shared()}
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, from int, steps []migration) error {
	for v := from; v < len(steps); v++ {
		if err := s.migrateOne(ctx, v, steps[v]); err != nil {
			return fmt.Errorf("migrate store from schema %d to %d (%s): %w", v, v+1, steps[v].name, err)
		}
	}
	return nil
}

func (s *Store) migrateOne(ctx context.Context, from int, m migration) error {
	_, rev, err := getAt[schema](ctx, s, keySchema)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	ops, err := m.ops(ctx, s)
	if err != nil {
		return err
	}
	put, err := opPut(keySchema, schema{Version: from + 1})
	if err != nil {
		return err
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{unchanged(keySchema, rev)}, append(ops, put)...)
	if err == nil && !ok {
		err = ErrConflict
	}
	return err
}
