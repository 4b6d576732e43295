package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

func rebootKey(name string) string { return clusterKeys(name) + "reboot" }

// PutReboot records which machines are to be rebooted. ErrConflict when there is a
// request already, ErrNotFound when there is no such cluster.
func (s *Store) PutReboot(ctx context.Context, name string, r cluster.Reboot) error {
	put, err := opPut(rebootKey(name), r)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name)), unchanged(rebootKey(name), 0)}, put); err == nil && !ok {
			if err = ErrConflict; s.lacks(ctx, name) {
				err = ErrNotFound
			}
		}
	}
	if err != nil {
		return fmt.Errorf("record a reboot of cluster %q: %w", name, err)
	}
	return nil
}

// AdvanceReboot replaces a request by what has become of it, or drops it when all
// are done; false when it was dropped or replaced meanwhile.
func (s *Store) AdvanceReboot(ctx context.Context, name string, from, to cluster.Reboot) (bool, error) {
	op := clientv3.OpDelete(rebootKey(name))
	var err error
	if _, more := to.Next(); more {
		op, err = opPut(rebootKey(name), to)
	}
	still := false
	if err == nil {
		still, err = s.ifStill(ctx, rebootKey(name), from, op)
	}
	if err != nil {
		return false, fmt.Errorf("record how far the reboot of cluster %q is: %w", name, err)
	}
	return still, nil
}

// DropReboot forgets the request there is, if any.
func (s *Store) DropReboot(ctx context.Context, name string) error {
	if _, _, err := s.change(ctx, nil, clientv3.OpDelete(rebootKey(name))); err != nil {
		return fmt.Errorf("cancel the reboot of cluster %q: %w", name, err)
	}
	return nil
}

func (s *Store) lacks(ctx context.Context, name string) bool {
	_, _, err := s.Spec(ctx, name)
	return err != nil
}
