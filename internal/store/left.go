package store

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// ForgetLeaving makes a leaving node one that has left: nothing is done about it
// any more, and its access data is kept until ForgetLeft. Nil when it is not
// leaving.
func (s *Store) ForgetLeaving(ctx context.Context, name string, node cluster.NodeName) error {
	key := leavingKey(name, node)
	for done := false; !done; {
		_, ranges, err := s.read(ctx, clientv3.OpGet(key))
		switch {
		case err != nil:
		case len(ranges[0]) == 0:
			// A write all the same: a deposed daemon is told so.
			_, done, err = s.change(ctx, nil, clientv3.OpDelete(key))
		default:
			done, err = s.leave(ctx, name, key, ranges[0][0].GetModRevision(), ranges[0][0].GetValue())
		}
		if err != nil {
			return fmt.Errorf("forget node %s of cluster %q: %w", node, name, err)
		}
	}
	return nil
}

// leave moves one record as it is; false when it was changed meanwhile.
func (s *Store) leave(ctx context.Context, name, key string, rev int64, record []byte) (bool, error) {
	n, err := decodeBytes[cluster.Node](key, record)
	if err != nil {
		return false, err
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{unchanged(key, rev)},
		clientv3.OpDelete(key), clientv3.OpPut(leftKey(name, n), string(record)))
	return ok, err
}

// ForgetLeft drops all that is known of a node that has left or is leaving; nil
// when it does neither.
func (s *Store) ForgetLeft(ctx context.Context, name string, n cluster.Node) error {
	snap, err := s.Load(ctx, name)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpDelete(leftKey(name, n))}
	if slices.Contains(snap.Leaving, n) {
		ops = append(ops, clientv3.OpDelete(leavingKey(name, n.Hostname)))
	}
	if _, _, err := s.change(ctx, nil, ops...); err != nil {
		return fmt.Errorf("forget node %s of cluster %q: %w", n.Hostname, name, err)
	}
	return nil
}

// leftOps drops the nodes that have left and are in a new spec again, if under
// another name.
func leftOps(spec cluster.Spec, left []cluster.Node) []clientv3.Op {
	var ops []clientv3.Op
	for _, n := range left {
		if slices.ContainsFunc(spec.Nodes, n.SameMachine) {
			ops = append(ops, clientv3.OpDelete(leftKey(spec.Name, n)))
		}
	}
	return ops
}
