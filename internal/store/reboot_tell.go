package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// TellReboot is AdvanceReboot right before a machine is told to go: only while these are
// the drains there are, each as it is here. Who has drained another node since, or is at
// work on this one by now, must not see it go.
func (s *Store) TellReboot(ctx context.Context, name string, from, to cluster.Reboot, drains []cluster.Drain) (bool, error) {
	ok, err := s.tellReboot(ctx, name, from, to, drains)
	if err != nil {
		return false, fmt.Errorf("record that a machine of cluster %q is told to reboot: %w", name, err)
	}
	return ok, nil
}

func (s *Store) tellReboot(ctx context.Context, name string, from, to cluster.Reboot, drains []cluster.Drain) (bool, error) {
	at, ranges, err := s.read(ctx, clientv3.OpGet(drainKeys(name), clientv3.WithPrefix(), clientv3.WithKeysOnly()))
	if err != nil || len(ranges[0]) != len(drains) {
		return false, err
	}
	conditions := []clientv3.Cmp{unchangedSince(drainKeys(name), at)} // no other is added
	is := func(key string, value any) error {
		b, err := json.Marshal(value)
		conditions = append(conditions, clientv3.Compare(clientv3.Value(key), "=", string(b)))
		return err
	}
	if err := is(rebootKey(name), from); err != nil {
		return false, err
	}
	for _, d := range drains {
		if err := is(drainKey(name, d.Node), d); err != nil {
			return false, err
		}
	}
	put, err := opPut(rebootKey(name), to)
	if err != nil {
		return false, err
	}
	_, ok, err := s.change(ctx, conditions, put)
	return ok, err
}
