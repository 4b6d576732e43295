package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/host"
)

// Fifty large requests at once, each answered and each written whole.
func TestParallelLargeRequests(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ca := open(t, b), newCA(t)
		large := append(bytes.Repeat([]byte("0123456789abcdef0123456789abcde\n"), 32<<10), ca.pem()...)
		var g errgroup.Group
		for i := range 50 {
			g.Go(func() error {
				return h.PutFiles(t.Context(), host.PutFiles{
					Cluster: fmt.Sprintf("c%d", i), Files: map[host.FileKind][]byte{host.ClientCA: large},
				})
			})
		}
		must(t, g.Wait())
		for i := range 50 {
			f, err := h.Facts(t.Context(), fmt.Sprintf("c%d", i), b.addr)
			must(t, err)
			if !bytes.Equal(f.Public[host.ClientCA], large) {
				t.Fatalf("c%d has %d bytes", i, len(f.Public[host.ClientCA]))
			}
		}
	})
}

// openFiles counts the descriptors for a file over all processes.
func openFiles(t *testing.T, path string) int {
	t.Helper()
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	must(t, err)
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == path {
			n++
		}
	}
	return n
}

// A call that is given up ends its work on the machine as well, and the
// transport goes on.
func TestCancellationEndsTheWork(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		path := filepath.Join(b.root, "var/lib/cke/host/lock", testCluster)
		unlock, err := lock(t.Context(), path)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.StartUnit(ctx, u.Cluster, u.Member) }()
		eventually(t, "the call waits for the lock", func() bool { return openFiles(t, path) == 2 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		eventually(t, "the machine no longer waits", func() bool { return openFiles(t, path) == 1 })
		unlock()
		if f := facts(t, h, b); f.Unit.Running || f.Unit.Exit != "" {
			t.Fatalf("%+v", f.Unit)
		}
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		for _, running := range []bool{false, true} {
			if running {
				must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
			}
			must(t, h.WaitUnit(t.Context(), u.Cluster, !running))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := h.WaitUnit(ctx, u.Cluster, running); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("running %v: got %v", running, err)
			}
			cancel()
		}
		facts(t, h, b)
	})
}

func TestFencing(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, u := open(t, b), t.Context(), b.founder()
		as := func(store string, epoch int64) { b.id.Store(&host.Identity{StoreID: store, Epoch: epoch}) }
		mutations := map[string]func() error{
			"put-files": func() error {
				return h.PutFiles(ctx, host.PutFiles{Cluster: u.Cluster, Files: newFiles(t, b.addr)})
			},
			"install": func() error { return h.InstallUnit(ctx, u) },
			"start":   func() error { return h.StartUnit(ctx, u.Cluster, u.Member) },
			"stop":    func() error { return h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}) },
			"retire":  func() error { return h.RetireUnit(ctx, u.Cluster, u.Member) },
			"clean":   func() error { return h.Clean(ctx, u.Cluster) },
		}
		refused := func(why string, otherStore bool) {
			t.Helper()
			for name, do := range mutations {
				var f *host.FencedError
				if err := do(); !errors.As(err, &f) || f.OtherStore != otherStore || f.Reason == "" {
					t.Errorf("%s: %s: got %v", why, name, err)
				}
			}
		}
		as("store-a", 7)
		b.install(t, h, u)
		as("store-a", 6)
		refused("an older leader", false)
		as("store-b", 9)
		refused("another store", true)
		if f := facts(t, h, b); f.StoreID != "store-a" || f.Epoch != 7 || f.Unit == nil {
			t.Fatalf("%+v", f)
		}
		b.id.Store(&host.Identity{StoreID: "store-a", Epoch: 8, Proof: "of8"})
		must(t, h.InstallUnit(ctx, u))
		if f := facts(t, h, b); f.Epoch != 8 || f.Proof != "of8" {
			t.Errorf("epoch %d is kept with proof %q", f.Epoch, f.Proof)
		}
		as("store-a", 7)
		refused("the leader of before", false)

		as("store-b", 1)
		must(t, h.Claim(ctx))
		must(t, h.InstallUnit(ctx, u))
		as("store-a", 9)
		refused("the store of before", true)

		// Forgetful: whose data is this?
		must(t, os.Remove(filepath.Join(b.root, "var/lib/cke/host/fence.json")))
		refused("a machine with data that remembers nobody", true)
		must(t, h.Claim(ctx))
		must(t, h.InstallUnit(ctx, u))

		as("", 1)
		wantInvalid(t, h.Claim(ctx))
		wantInvalid(t, h.InstallUnit(ctx, u))
	})
}

// A host obeys an elected leader from its first look on.
func TestALookOfAnElectedLeaderFences(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		as := func(id host.Identity) { b.id.Store(&id) }
		as(host.Identity{StoreID: "store-a", Epoch: 9, Elected: true})
		if f := facts(t, h, b); f.StoreID != "" || f.Epoch != 0 {
			t.Errorf("a look claims a bare machine: %+v", f)
		}
		as(host.Identity{StoreID: "store-a", Epoch: 2})
		b.install(t, h, u)
		for _, looks := range []host.Identity{
			{StoreID: "store-a", Epoch: 3}, {StoreID: "store-b", Epoch: 9, Elected: true}, {StoreID: "store-a", Epoch: 1, Elected: true},
		} {
			as(looks)
			if f := facts(t, h, b); f.StoreID != "store-a" || f.Epoch != 2 {
				t.Errorf("a look of %+v: store %s, epoch %d", looks, f.StoreID, f.Epoch)
			}
		}
		as(host.Identity{StoreID: "store-a", Epoch: 4, Elected: true, Proof: "of4"})
		if f := facts(t, h, b); f.Epoch != 4 || f.Proof != "of4" {
			t.Errorf("the look of the elected leader leaves epoch %d with proof %q", f.Epoch, f.Proof)
		}
		as(host.Identity{StoreID: "store-a", Epoch: 2})
		var fenced *host.FencedError
		if err := h.InstallUnit(t.Context(), u); !errors.As(err, &fenced) || fenced.OtherStore {
			t.Errorf("the leader before: %v", err)
		}
		as(host.Identity{StoreID: "store-a", Epoch: -1})
		if err := h.InstallUnit(t.Context(), u); !errors.Is(err, host.ErrTooLate) {
			t.Errorf("one that leads no more: %v", err)
		}
	})
}

// A call that waited for the lock is held against the leader of now.
func TestOlderLeaderIsRefusedAfterItsWait(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	must(t, h.InstallUnit(t.Context(), b.founder()))
	path := filepath.Join(b.root, "var/lib/cke/host/lock", testCluster)
	unlock, err := lock(t.Context(), path)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- h.Clean(t.Context(), testCluster) }()
	eventually(t, "the call waits for the lock", func() bool { return openFiles(t, path) == 2 })
	must(t, b.agent().admit(t.Context(), host.Identity{StoreID: "store-a", Epoch: 2}))
	unlock()
	var f *host.FencedError
	if err := <-ended; !errors.As(err, &f) || f.OtherStore {
		t.Fatalf("got %v", err)
	}
}

// A first start that waits is ended by a newer leader, which need not wait.
func TestNewerLeaderEndsAWaitingStart(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	// An etcd that never writes a WAL.
	path := filepath.Join(b.releases, "v"+testVersion, "etcd")
	must(t, os.Remove(path))
	writeProgram(t, path, "[ \"$1\" = --version ] && echo etcd Version: 3.7.3 && exit\nexec /bin/sleep 60\n")
	ended := make(chan error, 1)
	go func() { ended <- h.StartUnit(t.Context(), u.Cluster, u.Member) }()
	eventually(t, "it runs", func() bool { return facts(t, h, b).Unit.Running })
	b.id.Store(&host.Identity{StoreID: "store-a", Epoch: 2})
	stop := host.StopUnit{Cluster: u.Cluster, Member: u.Member}
	must(t, h.StopUnit(t.Context(), stop))
	var f *host.FencedError
	if err := <-ended; !errors.As(err, &f) || f.OtherStore {
		t.Fatalf("got %v", err)
	}
	if f := facts(t, h, b); f.Unit.Running || f.Unit.Sealed {
		t.Fatalf("%+v", f.Unit)
	}
}

func TestBusyPorts(t *testing.T) {
	processOnly(t, "it needs two machines")
	t.Parallel()
	b, other := newBox(t), newBox(t)
	other.addr = b.addr
	h, u := inProcess(t, other), other.founder()
	other.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	eventually(t, "etcd listens on both", func() bool {
		return fmt.Sprint(facts(t, inProcess(t, b), b).BusyPorts) == fmt.Sprint([]int{cluster.ClientPort, cluster.PeerPort})
	})
	if f := facts(t, h, other); len(f.BusyPorts) > 0 {
		t.Errorf("a member's own ports are busy: %v", f.BusyPorts)
	}
}
