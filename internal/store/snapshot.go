package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Snapshot is everything a decision about one cluster needs, at one revision.
type Snapshot struct {
	Spec cluster.Spec
	// Revision is the spec's last change, as Spec returns it.
	Revision  int64
	Bootstrap cluster.Bootstrap
	Users     []cluster.User // by name
	// RemovedUsers are those that ForgetUser has not dropped, by name.
	RemovedUsers []cluster.RemovedUser
	Bundles      []cluster.Bundle // by namespace and name
	Leaving      []cluster.Node   // by hostname
	// Left are the nodes whose member is out and that nobody has cleaned, by
	// hostname and address.
	Left   []cluster.Node
	Paused *cluster.Pause
	// Defrag are requests that were not met yet, by node.
	Defrag []cluster.DefragRequest
	// Restart is the member that is being restarted with other settings, or was
	// rolled back; nil for none.
	Restart *cluster.Restart
	// Snapshot is the last one taken before a change of etcd's version.
	Snapshot *cluster.Snapshot
	// Drains are the nodes under maintenance.
	Drains []cluster.Drain
	// Reboot is which machines are to be rebooted; nil for none.
	Reboot *cluster.Reboot
}

// Load reads a Snapshot in one round trip. ErrNotFound when there is no such
// cluster.
func (s *Store) Load(ctx context.Context, name string) (Snapshot, error) {
	got, err := s.stored(ctx, name)
	if err == nil && got.Revision == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("load cluster %q: %w", name, err)
	}
	return got.Snapshot, nil
}

// stored is a Snapshot with what a transaction has to compare.
type stored struct {
	Snapshot
	at           int64 // the store's revision when it was read
	specJSON     []byte
	bootstrapRev int64
}

// is says whether the stored spec is this one.
func (o stored) is(spec cluster.Spec) (bool, error) {
	b, err := json.Marshal(spec)
	return bytes.Equal(b, o.specJSON), err
}

// stored reads a cluster; Revision is 0 when there is none.
func (s *Store) stored(ctx context.Context, name string) (o stored, err error) {
	parts := o.parts(name)
	ops := make([]clientv3.Op, len(parts))
	for i, p := range parts {
		ops[i] = p.get
	}
	at, ranges, err := s.read(ctx, ops...)
	if err != nil {
		return o, err
	}
	o.at = at
	errs := make([]error, len(parts))
	for i, p := range parts {
		errs[i] = p.take(ranges[i])
	}
	return o, errors.Join(errs...)
}

// part is one range of keys, and what becomes of it.
type part struct {
	get  clientv3.Op
	take func([]*mvccpb.KeyValue) error
}

func (o *stored) parts(name string) []part {
	return []part{
		{clientv3.OpGet(specKey(name)), func(kvs []*mvccpb.KeyValue) error {
			for _, kv := range kvs {
				o.specJSON, o.Revision = kv.GetValue(), kv.GetModRevision()
			}
			return one(&o.Spec)(kvs)
		}},
		{clientv3.OpGet(bootstrapKey(name)), func(kvs []*mvccpb.KeyValue) error {
			for _, kv := range kvs {
				o.bootstrapRev = kv.GetModRevision()
			}
			return one(&o.Bootstrap)(kvs)
		}},
		{clientv3.OpGet(pauseKey(name)), one(&o.Paused)},
		{clientv3.OpGet(userKeys(name), clientv3.WithPrefix()), all(&o.Users)},
		{clientv3.OpGet(leavingKeys(name), clientv3.WithPrefix()), all(&o.Leaving)},
		{clientv3.OpGet(leftKeys(name), clientv3.WithPrefix()), all(&o.Left)},
		{clientv3.OpGet(removedKeys(name), clientv3.WithPrefix()), all(&o.RemovedUsers)},
		{clientv3.OpGet(bundleKeys(name), clientv3.WithPrefix()), all(&o.Bundles)},
		{clientv3.OpGet(defragKeys(name), clientv3.WithPrefix()), all(&o.Defrag)},
		{clientv3.OpGet(restartKey(name)), one(&o.Restart)},
		{clientv3.OpGet(snapshotKey(name)), one(&o.Snapshot.Snapshot)},
		{clientv3.OpGet(drainKeys(name), clientv3.WithPrefix()), all(&o.Drains)},
		{clientv3.OpGet(rebootKey(name)), one(&o.Reboot)},
	}
}

// one decodes the value of a key that is there or not.
func one[T any](into *T) func([]*mvccpb.KeyValue) error {
	return func(kvs []*mvccpb.KeyValue) (err error) {
		for _, kv := range kvs {
			*into, err = decode[T](kv)
		}
		return err
	}
}

// all decodes the values of all keys of a kind.
func all[T any](into *[]T) func([]*mvccpb.KeyValue) error {
	return func(kvs []*mvccpb.KeyValue) (err error) {
		*into, err = decodeAll[T](kvs)
		return err
	}
}
