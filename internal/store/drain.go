package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

func drainKeys(name string) string { return clusterKeys(name) + "drain/" }

func drainKey(name string, node cluster.NodeName) string { return drainKeys(name) + string(node) }

// PutDrain records that a node is under maintenance, or that this is to end. It
// replaces an earlier record of that node. ErrNotFound when there is no such
// cluster.
func (s *Store) PutDrain(ctx context.Context, name string, d cluster.Drain) error {
	put, err := opPut(drainKey(name, d.Node), d)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name))}, put); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("record the drain of %s of cluster %q: %w", d.Node, name, err)
	}
	return nil
}

// ChangeDrain is PutDrain where the record of the node is from still; nil: where it
// has none. False: it is another by now, as when a person has changed it.
func (s *Store) ChangeDrain(ctx context.Context, name string, from *cluster.Drain, to cluster.Drain) (still bool, err error) {
	key := drainKey(name, to.Node)
	put, err := opPut(key, to)
	switch {
	case err != nil:
	case from == nil:
		_, still, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name)), unchanged(key, 0)}, put)
	default:
		still, err = s.ifStill(ctx, key, *from, put)
	}
	if err != nil {
		return false, fmt.Errorf("change the drain of %s of cluster %q: %w", to.Node, name, err)
	}
	return still, nil
}

// DropDrain forgets this very drain; nil when it is forgotten already, or the node
// was drained anew since.
func (s *Store) DropDrain(ctx context.Context, name string, d cluster.Drain) error {
	key := drainKey(name, d.Node)
	if _, err := s.ifStill(ctx, key, d, clientv3.OpDelete(key)); err != nil {
		return fmt.Errorf("forget the drain of %s of cluster %q: %w", d.Node, name, err)
	}
	return nil
}

// ifStill does something if a key still has this value; false: it has not.
func (s *Store) ifStill(ctx context.Context, key string, is any, do clientv3.Op) (bool, error) {
	value, err := json.Marshal(is)
	if err != nil {
		return false, err
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(value))}, do)
	return ok, err
}
