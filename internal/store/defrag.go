package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// AskDefrag records that a person wants nodes' members defragmented; an earlier
// request for one of them is replaced. ErrNotFound when there is no such cluster.
func (s *Store) AskDefrag(ctx context.Context, name string, all []cluster.DefragRequest) error {
	var ops []clientv3.Op
	var err error
	for _, r := range all {
		var put clientv3.Op
		if err = checkName("node", string(r.Node)); err != nil {
			break
		}
		if put, err = opPut(defragKey(name, r.Node), r); err != nil {
			break
		}
		ops = append(ops, put)
	}
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(specKey(name))}, ops...); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("ask for the members of cluster %q to be defragmented: %w", name, err)
	}
	return nil
}

// ForgetDefrag drops a node's request; nil when there is none.
func (s *Store) ForgetDefrag(ctx context.Context, name string, n cluster.NodeName) error {
	err := checkName("node", string(n))
	if err == nil {
		_, _, err = s.change(ctx, nil, clientv3.OpDelete(defragKey(name, n)))
	}
	if err != nil {
		return fmt.Errorf("forget that %s of cluster %q was to be defragmented: %w", n, name, err)
	}
	return nil
}
