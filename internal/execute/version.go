package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"cke/internal/backup"
	"cke/internal/cluster"
	"cke/internal/etcd"
)

// keptSnapshots is how many snapshots of a cluster are kept beside its store.
const keptSnapshots = 2

// takeSnapshot takes a snapshot before etcd's version changes, checks it as any
// backup is checked, and remembers it. It is no more than the way back when all
// else fails, so it lies with cke's own state.
type takeSnapshot struct{ target }

func (a takeSnapshot) Done(context.Context) (bool, error) { return false, nil }

func (a takeSnapshot) Do(ctx context.Context) (err error) {
	if a.x.o.Snapshots == "" {
		return errors.New("take snapshot: cke has no directory for snapshots")
	}
	e := a.members(ctx)
	from, ok := a.follower(e)
	if !ok {
		return fmt.Errorf("take snapshot: %w: %s", etcd.ErrNoMember, e.Err)
	}
	snap := *a.step.Snapshot
	snap.At = a.x.o.Now().UTC()
	stream, _, err := a.x.o.Etcd.Snapshot(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed(stream)) }()
	err = a.does(WriteSnapshot, func() error {
		res, err := backup.WriteLocal(ctx, backup.LocalOptions{
			Dir: filepath.Join(a.x.o.Snapshots, a.cluster()), MaxBackups: keptSnapshots, Now: a.x.o.Now,
		}, stream, nil)
		snap.Host, snap.Path, snap.Bytes, snap.Revision, snap.Hash = a.x.o.Hostname, res.Path, res.Bytes, res.Revision, res.Hash
		return err
	})
	if err != nil || snap.Path == "" {
		return err
	}
	return a.store().PutSnapshot(ctx, a.cluster(), snap)
}

func closed(c io.Closer) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("close the snapshot's stream: %w", err)
	}
	return nil
}

// follower is a serving voter, the leader only where there is no other.
func (t target) follower(e cluster.EtcdState) (via etcd.Endpoint, ok bool) {
	for _, m := range e.HealthyVoters() {
		if ep, known := etcd.Of(t.w.Nodes(), m.PeerURL); known && (via == "" || !m.Leader) {
			via = ep
		}
	}
	return via, via != ""
}

// enableDowngrade has etcd validate the downgrade and then prepare for it: it
// brings the cluster's version and the members' storage to the lower line.
type enableDowngrade struct{ target }

func (a enableDowngrade) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	return e.Downgrade != "" && cluster.MinorOf(e.Downgrade) == cluster.MinorOf(a.step.Version), err
}

func (a enableDowngrade) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	to := cluster.MinorOf(a.step.Version).String() + ".0"
	if err := a.x.o.Etcd.ValidateDowngrade(ctx, via, to); err != nil {
		return err
	}
	return a.does(EtcdEnableDowngrade, func() error { return a.x.o.Etcd.EnableDowngrade(ctx, via, to) })
}

// cancelDowngrade has etcd go on with the version it has.
type cancelDowngrade struct{ target }

func (a cancelDowngrade) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	return e.Downgrade == "", err
}

func (a cancelDowngrade) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdCancelDowngrade, func() error { return a.x.o.Etcd.CancelDowngrade(ctx, via) })
}
