package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Leaving are the nodes gone from the spec that ForgetLeaving has not removed,
// by hostname.
func (s *Store) Leaving(ctx context.Context, name string) ([]cluster.Node, error) {
	_, ranges, err := s.read(ctx, clientv3.OpGet(leavingKeys(name), clientv3.WithPrefix()))
	if err != nil {
		return nil, fmt.Errorf("read leaving nodes of cluster %q: %w", name, err)
	}
	nodes, err := decodeAll[cluster.Node](ranges[0])
	if err != nil {
		return nil, fmt.Errorf("read leaving nodes of cluster %q: %w", name, err)
	}
	return nodes, nil
}

// leavingOps keeps the leaving nodes in step with a new spec.
func leavingOps(spec cluster.Spec, old stored) ([]clientv3.Op, error) {
	if old.Bootstrap.Phase == cluster.PhaseNew {
		return nil, nil
	}
	wanted := map[cluster.NodeName]cluster.Node{}
	for _, n := range spec.Nodes {
		wanted[n.Hostname] = n
	}
	var ops []clientv3.Op
	for _, n := range append(append([]cluster.Node(nil), old.Spec.Nodes...), old.Leaving...) {
		if w, ok := wanted[n.Hostname]; ok && w.Address != n.Address {
			return nil, &AddressError{Node: n.Hostname, Have: n.Address.String(), Want: w.Address.String()}
		}
	}
	for _, n := range old.Spec.Nodes {
		if _, ok := wanted[n.Hostname]; !ok {
			put, err := opPut(leavingKey(spec.Name, n.Hostname), n)
			if err != nil {
				return nil, err
			}
			ops = append(ops, put)
		}
	}
	for _, n := range old.Leaving {
		if _, ok := wanted[n.Hostname]; ok {
			ops = append(ops, clientv3.OpDelete(leavingKey(spec.Name, n.Hostname)))
		}
	}
	return ops, nil
}
