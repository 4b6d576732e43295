package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

func (e *env) ofVersion(version string) string {
	return e.withSettings("version: "+version+", "+steady, 1, 2, 3)
}

// allRun checks that three members are of this version.
func (e *env) allRun(version string) {
	e.t.Helper()
	for _, n := range e.Settled().Nodes {
		if n.Member == nil || n.Member.Version != version {
			e.t.Errorf("%s runs %+v, want etcd %s", n.Hostname, n.Member, version)
		}
	}
}

// TestRollingVersions takes a cluster from the older line of etcd to the newer one
// and back, with a snapshot before each change, while a tenant writes. A way down
// that is taken back half-way ends where it began.
func TestRollingVersions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	look := e.LookOut()
	e.Start()
	e.Set(e.ofVersion(drive.OlderVersion))
	e.allRun(drive.OlderVersion)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	w.Wrote(50)

	e.Set(e.ofVersion(cluster.DefaultVersion))
	e.allRun(cluster.DefaultVersion)
	e.isSafe(look, 1, 1)
	w.Wrote(50)

	e.storageIs("3.7.0")
	e.takenBack()
	w.Wrote(50)

	e.Set(e.ofVersion(drive.OlderVersion))
	e.allRun(drive.OlderVersion)
	e.storageIs("3.6.0")
	w.Wrote(50)
	w.Finish(250)
	e.NeverBelowQuorum()
	if n := e.CountSteps(plan.EnableDowngrade); n != 2 {
		t.Errorf("a downgrade was enabled %d times, want twice", n)
	}
	if n := e.CountSteps(plan.CancelDowngrade); n != 1 {
		t.Errorf("a downgrade was cancelled %d times, want once", n)
	}
}

// isSafe checks that so many snapshots were taken, each a file that etcd accepts,
// and that leadership moved at most so often.
func (e *env) isSafe(look *drive.Lookout, snapshots, moves int) {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.Dir, "state/snapshots/main/etcd-*.backup"))
	if err != nil || len(files) != snapshots {
		e.t.Errorf("snapshots %v, %v; want %d", files, err, snapshots)
	}
	for _, f := range files {
		if r := e.Run("etcdutl", "snapshot", "status", f); r.Code != 0 {
			e.t.Errorf("%s is no snapshot: %s", f, r.Stderr)
		}
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			e.t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
		}
	}
	if n := e.CountSteps(plan.MoveLeader); n > moves && !look.StoodStill(stoodStill) {
		e.t.Errorf("leadership was moved %d times, want at most %d", n, moves)
	}
}

// storageIs waits until all members' data is of this version.
func (e *env) storageIs(version string) {
	e.t.Helper()
	e.Until("the members' data is of "+version, func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Member == nil || n.Member.Storage != version {
				return fmt.Errorf("%s: %+v", n.Hostname, n.Member)
			}
		}
		return nil
	})
}

// takenBack begins a way down, and has the spec go back once a member is of the
// older version.
func (e *env) takenBack() {
	e.t.Helper()
	e.CLI("cluster", "set", e.Write("down.yml", e.ofVersion(drive.OlderVersion)))
	e.Until("a member is of the older version", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Member != nil && n.Member.Version == drive.OlderVersion {
				return nil
			}
		}
		return errors.New("none is")
	})
	e.Set(e.ofVersion(cluster.DefaultVersion))
	e.allRun(cluster.DefaultVersion)
	e.storageIs("3.7.0")
	c := e.connect(e.RootCert(), 1)
	e.Eventually("no downgrade is under way", func() error {
		s, err := c.Status(context.Background(), "https://"+e.addr(1)+":2379")
		if err == nil && s.DowngradeInfo != nil && s.DowngradeInfo.Enabled {
			err = errors.New("one is")
		}
		return err
	})
}
