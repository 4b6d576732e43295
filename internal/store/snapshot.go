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
	var ranges [][]*mvccpb.KeyValue
	o.at, ranges, err = s.read(ctx,
		clientv3.OpGet(specKey(name)), clientv3.OpGet(bootstrapKey(name)), clientv3.OpGet(pauseKey(name)),
		clientv3.OpGet(userKeys(name), clientv3.WithPrefix()), clientv3.OpGet(leavingKeys(name), clientv3.WithPrefix()),
		clientv3.OpGet(leftKeys(name), clientv3.WithPrefix()), clientv3.OpGet(removedKeys(name), clientv3.WithPrefix()),
		clientv3.OpGet(bundleKeys(name), clientv3.WithPrefix()), clientv3.OpGet(defragKeys(name), clientv3.WithPrefix()),
		clientv3.OpGet(restartKey(name)), clientv3.OpGet(snapshotKey(name)))
	if err != nil {
		return o, err
	}
	var errs [11]error
	for _, kv := range ranges[0] {
		o.specJSON, o.Revision = kv.GetValue(), kv.GetModRevision()
		o.Spec, errs[0] = decode[cluster.Spec](kv)
	}
	for _, kv := range ranges[1] {
		o.bootstrapRev = kv.GetModRevision()
		o.Bootstrap, errs[1] = decode[cluster.Bootstrap](kv)
	}
	for _, kv := range ranges[2] {
		o.Paused, errs[2] = decode[*cluster.Pause](kv)
	}
	o.Users, errs[3] = decodeAll[cluster.User](ranges[3])
	o.Leaving, errs[4] = decodeAll[cluster.Node](ranges[4])
	o.Left, errs[5] = decodeAll[cluster.Node](ranges[5])
	o.RemovedUsers, errs[6] = decodeAll[cluster.RemovedUser](ranges[6])
	o.Bundles, errs[7] = decodeAll[cluster.Bundle](ranges[7])
	o.Defrag, errs[8] = decodeAll[cluster.DefragRequest](ranges[8])
	for _, kv := range ranges[9] {
		o.Restart, errs[9] = decode[*cluster.Restart](kv)
	}
	for _, kv := range ranges[10] {
		o.Snapshot.Snapshot, errs[10] = decode[*cluster.Snapshot](kv)
	}
	return o, errors.Join(errs[:]...)
}
