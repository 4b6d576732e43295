package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// Versions of etcd: one of the line before the newest, and the newest.

// OlderVersion is of the line before the default's.
const OlderVersion = "3.6.16"

func versions() []string { return []string{OlderVersion, cluster.DefaultVersion} }

func (w *World) releases() []cluster.Release {
	var all []cluster.Release
	for _, v := range versions() {
		all = append(all, cluster.Release{Version: v, Arch: "amd64"})
	}
	return all
}

const (
	// monitorMost is how long the leader's monitor takes to see what has changed
	// (etcdserver.monitorVersionInterval).
	monitorMost = 5 * time.Second
	// storageLag is how long a member takes to bring its data to the cluster's version.
	storageLag = 2 * time.Second
)

// line is what the versions of a cluster amount to.
type line struct {
	version   cluster.Minor // the cluster's
	downgrade cluster.Minor // to which it is to go down; zero: none
	due       time.Time     // when the leader changes it next
	changed   time.Time     // when it did last
}

// settleVersion is the leader's monitor (etcdserver/version/monitor.go), and those of
// the members that bring their data to the cluster's version.
func (w *World) settleVersion() {
	l, r := w.lead(), &w.raft.line
	if l == nil {
		return
	}
	for _, m := range w.members() {
		if p := m.proc; p.token == l.proc.token && p.storage != r.version && w.raft.at.Sub(r.changed) >= storageLag && w.raft.at.Sub(p.up) >= storageLag {
			p.storage = r.version
		}
	}
	version, downgrade := w.nextVersion(l)
	switch {
	case version == r.version && downgrade == r.downgrade:
		r.due = time.Time{}
	case r.due.IsZero():
		r.due = w.raft.at.Add(w.between("monitor", 0, monitorMost))
	case !w.raft.at.Before(r.due) && w.propose(1, l.proc.cfg):
		w.logf("etcd: the cluster's version is %s, downgrade to %s", version, downgrade)
		r.version, r.downgrade, r.due, r.changed = version, downgrade, time.Time{}, w.raft.at
	}
}

// nextVersion is what the monitor makes of the versions that the members run, once
// all are known.
func (w *World) nextVersion(l *machine) (version, downgrade cluster.Minor) {
	r := w.raft.line
	var lowest, highest, none cluster.Minor
	for _, p := range l.proc.cfg {
		m := w.byPeerURL(p.url)
		if m == nil || !m.connected(w.raft.at) || m.proc.unit.Member != p.id {
			return r.version, r.downgrade
		}
		v := cluster.MinorOf(m.proc.unit.Version)
		if lowest == none || v.Before(lowest) {
			lowest = v
		}
		if highest.Before(v) {
			highest = v
		}
	}
	switch {
	case r.downgrade == none && r.version.Before(lowest):
		return lowest, none
	case r.downgrade != none && lowest == r.downgrade && highest == r.downgrade:
		return r.version, none // done
	case r.downgrade != none && r.downgrade.Before(r.version) && r.downgrade.Before(lowest):
		return r.downgrade, r.downgrade
	}
	return r.version, r.downgrade
}

// tooOld: an etcd refuses data of a newer line, and a cluster of one.
func (m *machine) tooOld(u cluster.Unit) bool {
	v := cluster.MinorOf(u.Version)
	r := m.dirs[u.Member]
	return v.Before(m.w.raft.line.version) || r != nil && v.Before(r.storage)
}

func (w *World) downgradable(to string) error {
	r, v := w.raft.line, cluster.MinorOf(to)
	switch {
	case r.downgrade != (cluster.Minor{}):
		return rpctypes.ErrDowngradeInProcess
	case r.version != cluster.Minor{Major: v.Major, Minor: v.Minor + 1}:
		return rpctypes.ErrInvalidDowngradeTargetVersion
	}
	return nil
}

// ValidateDowngrade implements execute.Etcd.
func (e client) ValidateDowngrade(ctx context.Context, via etcd.Endpoint, to string) error {
	return e.change(ctx, "validate the downgrade to "+to, via, func() error { return e.c.w.downgradable(to) })
}

// EnableDowngrade implements execute.Etcd.
func (e client) EnableDowngrade(ctx context.Context, via etcd.Endpoint, to string) error {
	w := e.c.w
	return e.change(ctx, "enable the downgrade to "+to, via, func() error {
		if err := w.downgradable(to); err != nil {
			return err
		}
		w.judgeDowngrade(to)
		if !w.propose(1, w.lead().proc.cfg) {
			return context.DeadlineExceeded
		}
		w.raft.line.downgrade = cluster.MinorOf(to)
		return nil
	})
}

// CancelDowngrade implements execute.Etcd.
func (e client) CancelDowngrade(ctx context.Context, via etcd.Endpoint) error {
	w := e.c.w
	return e.change(ctx, "cancel the downgrade", via, func() error {
		if w.raft.line.downgrade == (cluster.Minor{}) {
			return rpctypes.ErrNoInflightDowngrade
		}
		if !w.propose(1, w.lead().proc.cfg) {
			return context.DeadlineExceeded
		}
		w.raft.line.downgrade = cluster.Minor{}
		return nil
	})
}

// Snapshot implements execute.Etcd.
func (e client) Snapshot(ctx context.Context, ep etcd.Endpoint) (io.ReadCloser, int64, error) {
	w, open := e.c.w, false
	err := e.ask(ctx, "snapshot", []etcd.Endpoint{ep}, askTimeout, func() {
		m := w.byClientURL(string(ep))
		open = m != nil && m.answers() && !w.raft.at.Before(m.proc.up)
	})
	if err == nil && !open {
		err = errNoTarget
	}
	if err != nil {
		return nil, 0, err
	}
	image, err := w.authority.snapshot()
	return io.NopCloser(bytes.NewReader(image)), int64(len(image)), err
}

// PutSnapshot implements execute.Store.
func (s store) PutSnapshot(ctx context.Context, _ string, snap cluster.Snapshot) error {
	w := s.c.w
	return s.change(ctx, "record a snapshot", func() error {
		if _, err := os.Stat(snap.Path); err != nil {
			w.violate("snapshotFirst", "a snapshot is recorded that is not there: %v", err)
		}
		w.shelf.snapshot = &snap
		return nil
	})
}

// snapshot is what a member sends: a database, and its sum.
func (a *Authority) snapshot() (image []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.image != nil {
		return a.image, nil
	}
	path := filepath.Join(a.Scratch, "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"key", "meta"} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	if image, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(image)
	a.image = slices.Concat(image, sum[:])
	return a.image, nil
}

// directory is a new world's own, for snapshots; empty where there is no place for any.
func (a *Authority) directory() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Scratch == "" {
		return ""
	}
	a.worlds++
	return filepath.Join(a.Scratch, "world-"+strconv.Itoa(a.worlds))
}
