package agent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cke/internal/host"
)

// newOwnBox is a machine with a releases directory of its own.
func newOwnBox(t testing.TB) *box {
	t.Helper()
	b := newBox(t)
	b.releases = filepath.Join(b.root, "opt/cke/etcd")
	must(t, os.RemoveAll(b.releases)) // what a test put there is not CKE's to remove
	return b
}

// furnish leaves on a machine all that a member that is out leaves, and what
// CKE puts there besides.
func furnish(t testing.TB, b *box, h host.Host) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	must(t, send(ctx, h, newCargo(t, otherVersion, 1000)))
	must(t, h.PutFiles(ctx, host.PutFiles{Cluster: testCluster, Files: newFiles(t, b.addr)}))
	must(t, h.PutClientFiles(ctx, clientRequest(t, b)))
	l := b.agent().layout
	for _, path := range []string{
		filepath.Join(l.asides(testCluster)[0], asideName(7, time.Now()), "member/wal/0.wal"),
		filepath.Join(l.asides("another")[1], asideName(8, time.Now()), "member/snap/db"),
		filepath.Join(l.helpers(), "cke-host-0123"),
		filepath.Join(l.state(testCluster), "log/etcd.log"),
	} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte("x"), 0o600))
	}
}

// onlyRoot: nothing is left but the root itself.
func onlyRoot(t *testing.T, b *box) {
	t.Helper()
	if left := b.tree(t); len(left) > 1 {
		t.Fatalf("left: %q", left[1:])
	}
}

func TestPurgeLeavesNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		if !onMachine() {
			b.releases = filepath.Join(b.root, "opt/cke/etcd")
			b.release(t, testVersion)
		}
		h, ctx, u := open(t, b), t.Context(), b.founder()
		b.install(t, h, u)
		wantGuard(t, h.Purge(ctx), host.InUse)
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		wantGuard(t, h.Purge(ctx), host.InUse)
		must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
		wantGuard(t, h.Purge(ctx), host.InUse)
		must(t, h.RetireUnit(ctx, u.Cluster, u.Member))
		furnish(t, b, h)
		if f := facts(t, h, b); len(f.Aside) < 1 || f.StoreID == "" {
			t.Fatalf("before: %+v", f)
		}
		must(t, h.Purge(ctx))
		// The binary that the test itself put there is not CKE's to remove.
		must(t, os.RemoveAll(b.releases))
		must(t, h.Purge(ctx))
		onlyRoot(t, b)
		if f := facts(t, h, b); f.StoreID != "" || len(f.Aside) > 0 || len(f.Public) > 0 || len(f.Versions) > 0 {
			t.Fatalf("after: %+v", f)
		}
	})
}

func TestPurgeSparesWhatIsNotItsOwn(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	b := newOwnBox(t)
	h := inProcess(t, b)
	furnish(t, b, h)
	l := b.agent().layout
	kept := []string{
		filepath.Join(b.root, "etc/cke/config.yml"),
		filepath.Join(b.root, "etc/fstab"),
		filepath.Join(b.root, "var/lib/cke/state/db"),
		filepath.Join(b.releases, "v3.7.2/etcd"),
		filepath.Join(l.dataRoot(), "lost+found/x"),
		filepath.Join(b.root, "opt/other/y"),
	}
	for _, path := range kept {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	must(t, h.Purge(t.Context()))
	var left []string
	for _, path := range tree(t, b.root) {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			left = append(left, path)
		}
	}
	slices.Sort(kept)
	slices.Sort(left)
	if !slices.Equal(left, kept) {
		t.Errorf("left %q, want %q", left, kept)
	}

	// A releases directory that several nodes share is not one node's.
	shared := newBox(t)
	before := tree(t, shared.releases)
	h = inProcess(t, shared)
	furnish(t, shared, h)
	must(t, h.Purge(t.Context()))
	onlyRoot(t, shared)
	if after := tree(t, shared.releases); len(after) <= len(before) {
		t.Errorf("of %q is left %q", before, after)
	}
}

func TestPurgeFollowsNoLinkOut(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	for name, link := range map[string]struct {
		path    string
		refused bool
	}{
		"configuration":  {"etc/cke/etcd", false},
		"what is aside":  {"var/lib/cke/etcd-aside", false},
		"helpers":        {"opt/cke/libexec", false},
		"one that leads": {"opt/cke", true},
	} {
		b := newBox(t)
		outside := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(outside, "libexec"), 0o755))
		must(t, os.WriteFile(filepath.Join(outside, "libexec/x"), nil, 0o600))
		path := filepath.Join(b.root, link.path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.Symlink(outside, path))
		err := inProcess(t, b).Purge(t.Context())
		if (err != nil) != link.refused {
			t.Errorf("%s: %v", name, err)
		}
		if left := tree(t, outside); len(left) != 3 {
			t.Errorf("%s: outside is left %q", name, left)
		}
		if _, err := os.Lstat(path); !link.refused && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the link: %v", name, err)
		}
	}
}

// What may be a member's is not purged, even where its unit is gone.
func TestPurgeIsRefused(t *testing.T) {
	t.Parallel()
	b := newOwnBox(t)
	h, l := inProcess(t, b), b.agent().layout
	furnish(t, b, h)
	before := len(b.tree(t))
	for name, leave := range map[string]func() (undo func()){
		"data": func() func() {
			must(t, os.MkdirAll(l.data("another", 9), 0o700))
			return func() { must(t, os.Remove(l.data("another", 9))) }
		},
		"a seal": func() func() {
			must(t, writeJSON(l.seal("another", 9), seal{Cluster: "another", Member: 9, Sealed: true}))
			return func() { must(t, os.RemoveAll(l.state("another"))) }
		},
		"a process": func() func() {
			cmd := exec.Command("sh") // which waits for a line that never comes
			cmd.Args = []string{"etcd", "-c", "read x", "--data-dir=" + l.data("gone", 9)}
			in, err := cmd.StdinPipe()
			must(t, err)
			must(t, cmd.Start())
			return func() { must(t, in.Close()); _ = cmd.Wait() }
		},
	} {
		undo := leave()
		var guard *host.GuardError
		if err := h.Purge(t.Context()); !errors.As(err, &guard) || guard.Kind != host.InUse {
			t.Errorf("%s: %v", name, err)
		}
		undo()
	}
	if after := len(b.tree(t)); after < before {
		t.Errorf("of %d things %d are left", before, after)
	}
	stranger := host.Local(b.agent().Handler(), func() host.Identity { return host.Identity{StoreID: "store-b", Epoch: 9} })
	var fenced *host.FencedError
	if err := stranger.Purge(t.Context()); !errors.As(err, &fenced) {
		t.Errorf("another store: %v", err)
	}
	must(t, h.Purge(t.Context()))
	onlyRoot(t, b)
}

func purgePoints() []string {
	return []string{"purge:gateway", "client:left", "purge:client", "purge:config", "purge:aside", "purge:releases", "purge:helpers", "purge:memory", "purge:fence"}
}

func TestPurgePointsAreAllWalked(t *testing.T) {
	t.Parallel()
	b := newOwnBox(t)
	a := b.agent()
	furnish(t, b, inProcess(t, b))
	var reached []string
	a.reached = func(p string) { reached = append(reached, p) }
	must(t, host.Local(a.Handler(), b.identity).Purge(t.Context()))
	if !slices.Equal(reached, purgePoints()) {
		t.Fatalf("reached %q", reached)
	}
	onlyRoot(t, b)
}

func TestPurgeIsFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	for _, point := range purgePoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newOwnBox(t)
			h := inProcess(t, b)
			furnish(t, b, h)
			crash(t, b, crashJob{Purge: true}, point)
			must(t, h.Purge(t.Context()))
			onlyRoot(t, b)
		})
	}
}

// Whoever waited for a lock that was purged does not work beside whoever has
// the new one.
func TestAPurgedLockIsNoLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock", "c")
	unlock, err := lock(t.Context(), path)
	must(t, err)
	got := make(chan func(), 1)
	go func() {
		u, err := lock(context.WithoutCancel(t.Context()), path)
		if err == nil {
			got <- u
		}
	}()
	eventually(t, "another waits", func() bool { return openFiles(t, path) >= 2 })
	must(t, os.RemoveAll(filepath.Dir(path)))
	fresh, err := lock(t.Context(), path)
	must(t, err)
	unlock()
	select {
	case <-got:
		t.Fatal("two hold the lock")
	case <-time.After(100 * time.Millisecond):
	}
	fresh()
	(<-got)()
}

// Nothing is begun while a machine is purged, of a cluster that is new to it
// neither; whoever waited works on a machine that obeys again.
func TestNothingBeginsDuringAPurge(t *testing.T) {
	processOnly(t, "it is about locks")
	t.Parallel()
	b := newOwnBox(t)
	furnish(t, b, inProcess(t, b))
	a, done := b.agent(), make(chan error, 1)
	a.reached = func(p string) {
		if p != "purge:config" {
			return
		}
		put := host.PutFiles{Cluster: "fresh", Files: newFiles(t, b.addr)}
		go func() { done <- inProcess(t, b).PutFiles(context.WithoutCancel(t.Context()), put) }()
		select {
		case err := <-done:
			t.Errorf("it was done in the middle of a purge: %v", err)
			done <- err
		case <-time.After(200 * time.Millisecond):
		}
	}
	must(t, host.Local(a.Handler(), b.identity).Purge(t.Context()))
	must(t, <-done)
	for _, path := range []string{a.layout.file("fresh", host.ServerKey), a.fencePath()} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
