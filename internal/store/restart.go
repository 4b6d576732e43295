package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

func restartKey(name string) string { return clusterKeys(name) + "restart" }

// PutRestart records that a member is being restarted with other settings, or
// that it was rolled back. It replaces an earlier record. ErrNotFound when there
// is no such cluster.
func (s *Store) PutRestart(ctx context.Context, name string, r cluster.Restart) error {
	put, err := opPut(restartKey(name), r)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name))}, put); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("record the restart of %s of cluster %q: %w", r.Node, name, err)
	}
	return nil
}

// DropRestart forgets this one restart; nil when it is forgotten already, or
// another was recorded since.
func (s *Store) DropRestart(ctx context.Context, name string, r cluster.Restart) error {
	key := restartKey(name)
	value, err := json.Marshal(r)
	if err == nil {
		_, _, err = s.change(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(value))}, clientv3.OpDelete(key))
	}
	if err != nil {
		return fmt.Errorf("forget the restart of %s of cluster %q: %w", r.Node, name, err)
	}
	return nil
}
