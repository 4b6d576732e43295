package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Machine is where the nodes live that are reached without SSH.
type Machine struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	Root     string `json:"root"`
}

// LocalMachine returns the machine whose local nodes are this store's, which is
// the first that asked.
func (s *Store) LocalMachine(ctx context.Context, asks Machine) (Machine, error) {
	for {
		is, err := get[Machine](ctx, s, keyLocalMachine)
		if !errors.Is(err, ErrNotFound) {
			if err != nil {
				err = fmt.Errorf("read whose the local nodes are: %w", err)
			}
			return is, err
		}
		put, err := opPut(keyLocalMachine, asks)
		if err != nil {
			return asks, err
		}
		_, ok, err := s.change(ctx, []clientv3.Cmp{unchanged(keyLocalMachine, 0)}, put)
		if err != nil {
			return asks, fmt.Errorf("record whose the local nodes are: %w", err)
		}
		if ok {
			return asks, nil
		}
	}
}
