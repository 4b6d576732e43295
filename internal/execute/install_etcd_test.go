package execute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/agent"
	"cke/internal/observe"
	"cke/internal/pki"
	"cke/internal/plan"
	"cke/internal/release"
)

// farm is some remote hosts, each with directories of its own, and a cke that
// has a real etcd to hand out.
type farm struct {
	nodes []cluster.Node
	hosts map[cluster.NodeName]host.Host
	roots map[cluster.NodeName]string
	x     *Executor

	mu      sync.Mutex
	effects []Effect
}

func (f *farm) Host(n cluster.Node) (host.Host, error) { return f.hosts[n.Hostname], nil }

func me() host.Identity { return host.Identity{StoreID: "store-a", Epoch: 1} }

func newFarm(t *testing.T, n int) *farm {
	t.Helper()
	f := &farm{hosts: map[cluster.NodeName]host.Host{}, roots: map[cluster.NodeName]string{}}
	log := slog.New(slog.DiscardHandler)
	for i := range n {
		name := cluster.NodeName(fmt.Sprintf("cp%d", i+1))
		f.nodes = append(f.nodes, cluster.Node{Hostname: name, Address: netip.AddrFrom4([4]byte{127, 9, 9, byte(i + 1)}), ControlPlane: true, User: "cke"})
		f.roots[name] = t.TempDir()
		f.hosts[name] = host.Local(agent.New(agent.Options{Root: f.roots[name], Log: log}).Handler(), me)
	}
	authority, err := pki.NewAuthority("main", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	releases := t.TempDir()
	etcd, err := filepath.Abs("../../bin/etcd")
	if err == nil {
		_, err = os.Stat(etcd)
	}
	if err != nil {
		t.Fatalf("%v: run make build", err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(releases, "v3.7.3"), 0o755), os.Symlink(etcd, filepath.Join(releases, "v3.7.3/etcd"))); err != nil {
		t.Fatal(err)
	}
	observer := observe.New(observe.Options{Hosts: f, Authority: authority, Identity: me, Now: time.Now, Log: log})
	f.x = New(Options{
		Cluster: "main", Hosts: f, Observer: observer, Authority: authority, Now: time.Now, Log: log,
		Releases: release.New(release.Options{Dir: releases, Cache: t.TempDir(), Log: log}), Progress: NewProgress(),
		After: func(_ plan.Kind, e Effect) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.effects = append(f.effects, e)
		},
	})
	return f
}

func (f *farm) step() plan.Step {
	s := plan.Step{Kind: plan.InstallEtcd, Version: "3.7.3"}
	for _, n := range f.nodes {
		s.Nodes = append(s.Nodes, n.Hostname)
	}
	return s
}

func (f *farm) run(ctx context.Context) error {
	return f.x.Run(ctx, observe.Wanted{Spec: cluster.Spec{Name: "main", Nodes: f.nodes}.WithDefaults()}, f.step(), func(cluster.NodeName) {})
}

func (f *farm) installed(t *testing.T, name cluster.NodeName) bool {
	t.Helper()
	facts, err := f.hosts[name].Facts(t.Context(), "main", netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(facts.Versions, "3.7.3")
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestEtcdGoesToEveryHost(t *testing.T) {
	f := newFarm(t, 3)
	seen := map[cluster.NodeName][]cluster.Progress{}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			now, changed := f.x.o.Progress.Now()
			for _, p := range now {
				seen[p.Node] = append(seen[p.Node], p)
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	})
	began := time.Now()
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("to %d hosts in %s", len(f.nodes), time.Since(began).Round(time.Millisecond))
	stop()
	watching.Wait()
	want := sumOf(t, "../../bin/etcd")
	for name, root := range f.roots {
		if !f.installed(t, name) || sumOf(t, filepath.Join(root, "opt/cke/etcd/v3.7.3/etcd")) != want {
			t.Errorf("%s has no etcd, or another", name)
		}
		last := int64(-1)
		for _, p := range seen[name] {
			if p.Done < last || p.Done > p.Total || p.What != "installing etcd 3.7.3" {
				t.Fatalf("%s: %+v after %d", name, p, last)
			}
			last = p.Done
		}
		if len(seen[name]) < 2 {
			t.Errorf("%s: progress was told %d times", name, len(seen[name]))
		}
	}
	if now, _ := f.x.o.Progress.Now(); len(now) > 0 {
		t.Errorf("still under way: %+v", now)
	}
	if len(f.effects) != 3 {
		t.Errorf("effects: %v", f.effects)
	}
	if err := f.run(t.Context()); err != nil || len(f.effects) != 3 {
		t.Errorf("again: %v, %v", f.effects, err)
	}
}

// One host that cannot take it holds no other up, and says why.
func TestOneHostThatCannotTakeEtcd(t *testing.T) {
	f := newFarm(t, 3)
	bad := filepath.Join(f.roots["cp2"], "opt/cke")
	if err := errors.Join(os.MkdirAll(filepath.Dir(bad), 0o755), os.Symlink("/sys", bad)); err != nil { // where nobody can write
		t.Fatal(err)
	}
	err := f.run(t.Context())
	var node *NodeError
	var guard *host.GuardError
	if !errors.As(err, &node) || node.Node != "cp2" || !errors.As(err, &guard) || guard.Kind != host.ReadOnly {
		t.Fatalf("%v", err)
	}
	if !f.installed(t, "cp1") || !f.installed(t, "cp3") || f.installed(t, "cp2") {
		t.Error("it is not on the others, or on that one")
	}
}

func TestAReleaseThatCkeDoesNotHave(t *testing.T) {
	f := newFarm(t, 1)
	f.x.o.Releases = release.New(release.Options{Dir: t.TempDir(), Cache: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err := f.run(t.Context()); !errors.Is(err, release.ErrNone) {
		t.Errorf("%v", err)
	}
}

// slow is a host that takes bytes at its own pace.
type slow struct {
	host.Host
	every time.Duration // for each part; 0: never
}

func (slow) Facts(context.Context, string, netip.Addr) (host.Facts, error) {
	return host.Facts{Arch: "amd64"}, nil
}

func (slow) ReleaseOffset(context.Context, host.Release) (host.ReleaseState, error) {
	return host.ReleaseState{Offset: 1 << 10}, nil
}

func (s slow) PutRelease(ctx context.Context, r host.Release, offset int64, packed io.Reader) error {
	for at := offset; at < r.PackedSize; {
		n, err := io.CopyN(io.Discard, packed, min(1<<10, r.PackedSize-at))
		if at += n; err != nil {
			return err
		}
		wait := time.After(s.every)
		if s.every == 0 {
			wait = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait:
		}
	}
	return nil
}

// shelf hands out bytes that nobody unpacks.
type shelf struct{ size int64 }

type zeros struct{ io.ReadSeeker }

func (zeros) Close() error { return nil }

func (s shelf) Open(_ context.Context, r cluster.Release) (release.Packed, error) {
	return release.Packed{
		Info:           host.Release{Version: r.Version, Arch: r.Arch, PackedSize: s.size},
		ReadSeekCloser: zeros{io.NewSectionReader(zero{}, 0, s.size)},
	}, nil
}

type zero struct{}

func (zero) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

// A slow line is waited for however long it takes; one that stands still is not.
func TestATransferIsBoundByItsProgress(t *testing.T) {
	for name, c := range map[string]struct {
		every   time.Duration
		stalled bool
	}{"slow": {20 * time.Second, false}, "still": {0, true}, "too slow": {31 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			f := newFarm(t, 1)
			synctest.Test(t, func(t *testing.T) {
				f.hosts["cp1"] = slow{f.hosts["cp1"], c.every}
				f.x.o.Releases = shelf{100 << 10}
				began := time.Now()
				err := f.run(t.Context())
				took := time.Since(began)
				if errors.Is(err, errStalled) != c.stalled || !c.stalled && err != nil {
					t.Errorf("after %s: %v", took, err)
				}
				if c.stalled && took != stallTimeout || !c.stalled && took != 99*c.every {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// eager answers before it has read the body, which its transport goes on reading.
type eager struct {
	slow
	body chan io.Reader
}

func (e eager) PutRelease(_ context.Context, _ host.Release, _ int64, packed io.Reader) error {
	e.body <- packed
	return &host.GuardError{Kind: host.NoSpace, Reason: "full"}
}

func TestNothingIsUnderWayBehindTheAnswer(t *testing.T) {
	f := newFarm(t, 1)
	e := eager{slow{Host: f.hosts["cp1"]}, make(chan io.Reader, 1)}
	f.hosts["cp1"], f.x.o.Releases = e, shelf{100 << 10}
	var guard *host.GuardError
	if err := f.run(t.Context()); !errors.As(err, &guard) {
		t.Fatal(err)
	}
	if _, err := (<-e.body).Read(make([]byte, 10)); err == nil {
		t.Error("the body is read behind the answer")
	}
	if now, _ := f.x.o.Progress.Now(); len(now) > 0 {
		t.Errorf("still under way: %+v", now)
	}
}
