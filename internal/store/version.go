package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

func snapshotKey(name string) string { return clusterKeys(name) + "snapshot" }

// PutSnapshot remembers the snapshot that was taken before a change of etcd's
// version. It replaces an earlier one. ErrNotFound when there is no such cluster.
func (s *Store) PutSnapshot(ctx context.Context, name string, snap cluster.Snapshot) error {
	put, err := opPut(snapshotKey(name), snap)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name))}, put); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("remember the snapshot of cluster %q: %w", name, err)
	}
	return nil
}
