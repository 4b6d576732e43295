package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// ownDisk gives a node's data a small file system of its own.
func (e *env) ownDisk(node string) {
	e.t.Helper()
	at := e.disk(node)
	if err := os.MkdirAll(at, 0o700); err != nil {
		e.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=320m,mode=0700"); err != nil {
		e.t.Skipf("mount a small file system: %v", err)
	}
	e.t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) }) // its files are open until the members have ended
}

func (e *env) disk(node string) string {
	return filepath.Join(e.Dir, "nodes", node, "var/lib/cke/etcd")
}

func (e *env) filler(node string) string { return filepath.Join(e.disk(node), "filler") }

// fillDisk takes the last byte.
func (e *env) fillDisk(node string) {
	e.t.Helper()
	f, err := os.Create(e.filler(node))
	if err != nil {
		e.t.Fatal(err)
	}
	for size := 1 << 20; size > 0 && err == nil; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size, err = size/2, nil
		}
	}
	if cerr := f.Close(); err != nil || cerr != nil {
		e.t.Fatal(err, cerr)
	}
}

func (e *env) freeDisk(node string) {
	e.t.Helper()
	if err := os.Remove(e.filler(node)); err != nil {
		e.t.Fatal(err)
	}
}

// writeUntilEnded writes to the cluster until so many of these members have ended for
// lack of room.
func (e *env) writeUntilEnded(c *clientv3.Client, least int, nodes ...string) {
	e.t.Helper()
	value := strings.Repeat("z", 256<<10)
	n := 0
	e.Eventually(fmt.Sprintf("%d of %v end", least, nodes), func() error {
		n++
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // there may be no quorum any more
		defer cancel()
		_, putErr := c.Put(ctx, fmt.Sprintf("/app/%d", n), value)
		running, ended := e.members(), 0
		for _, node := range nodes {
			if _, runs := running[node]; !runs {
				ended++
			}
		}
		if ended < least {
			return fmt.Errorf("%d ended after %d writes (the last: %v)", ended, n, putErr)
		}
		return nil
	})
}

// starts is how often members were started.
func (e *env) starts() int { return e.CountSteps(plan.StartMembers) }

// TestFullFileSystem: a member whose disk is full ends. It is told with mount and
// bytes, not started over and over, and starts by itself once there is room; full
// on all, nothing is done, and all are back by themselves.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	nodes := []string{"cp1", "cp2", "cp3"}
	for _, n := range nodes {
		e.ownDisk(n)
	}
	e.Start()
	e.Set(e.etcdYAML("quota: 128MiB", 1, 2, 3))
	e.CLI("etcd", "user-add", "app", "/app/")
	app := e.connect(e.UserCert("app"), 1, 2, 3)

	e.fillDisk("cp2")
	e.writeUntilEnded(app, 1, "cp2")
	r := e.Reason("fileSystemIsFull", "cp2")
	e.Says("the reason", r.Text, "the member's data is on "+e.disk("cp2"), "of 320MiB are free", "it starts by itself")
	before := e.starts()
	e.lookTwice()
	if now := e.starts(); now > before { // one that was under way may have failed since
		t.Errorf("%d starts on a full disk", now-before)
	}
	e.ask("the others serve", func(ctx context.Context) error {
		_, err := app.Put(ctx, "/app/one", "1")
		return err
	})
	e.freeDisk("cp2")
	e.onlyMembersAre(1, 2, 3)

	for _, n := range nodes {
		e.fillDisk(n)
	}
	e.writeUntilEnded(app, 2, nodes...)
	for _, pid := range e.members() { // without a quorum it has nothing to write, if it has not ended meanwhile
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		e.gone(pid)
	}
	for _, n := range nodes {
		e.Reason("fileSystemIsFull", cluster.NodeName(n))
	}
	s := e.blocked("quorumIsLost")
	if len(s.Plan.Steps) > 0 {
		t.Errorf("steps with every disk full:\n%s", s.Plan)
	}
	for _, n := range nodes {
		e.freeDisk(n)
	}
	e.onlyMembersAre(1, 2, 3)
	e.ask("read what was acknowledged", func(ctx context.Context) error {
		got, err := app.Get(ctx, "/app/one")
		if err == nil && (len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1") {
			t.Errorf("an acknowledged write is lost: %v", got.Kvs)
		}
		return err
	})
	if n := e.CountSteps(plan.RemoveMember) + e.CountSteps(plan.AddLearner); n != 0 {
		t.Errorf("%d membership changes for members that only needed room", n)
	}
}

// lookTwice waits until CKE has looked twice more.
func (e *env) lookTwice() {
	e.t.Helper()
	for range 2 {
		at := e.Status().ObservedAt
		e.Until("CKE looks again", func(s api.Status) error {
			if !s.ObservedAt.After(at) {
				return errors.New("not yet")
			}
			return nil
		})
	}
}
