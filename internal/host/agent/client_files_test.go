package agent

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

const clientDir = "/etc/kubernetes/pki"

// me is whom the tests run as, and its group.
func me(t testing.TB) (name, group string) {
	t.Helper()
	u, err := user.Current()
	must(t, err)
	g, err := user.LookupGroupId(u.Gid)
	must(t, err)
	return u.Username, g.Name
}

// clientRequest has a certificate of its own.
func clientRequest(t testing.TB, b *box) host.PutClientFiles {
	t.Helper()
	ca := newCA(t)
	cert, key := ca.issue(t, cluster.APIServerUser, b.addr)
	owner, group := me(t)
	return host.PutClientFiles{
		Cluster: testCluster, CA: ca.pem(), Cert: cert, Key: key,
		Files: cluster.ClientFiles{Directory: clientDir, Owner: owner, Group: group, Mode: "0600"},
	}
}

func (b *box) path(names ...string) string {
	return filepath.Join(append([]string{b.root}, names...)...)
}

// has fails unless the files of a request are where it says, and nothing else is.
func (b *box) has(t testing.TB, req host.PutClientFiles, besides ...string) {
	t.Helper()
	dir := b.path(req.Files.Directory)
	want := besides
	for _, f := range clientFiles(req) {
		got, err := os.ReadFile(filepath.Join(dir, f.name))
		must(t, err)
		info, err := os.Lstat(filepath.Join(dir, f.name))
		must(t, err)
		if !bytes.Equal(got, f.content) || info.Mode() != f.mode {
			t.Fatalf("%s: %v, %d bytes", f.name, info.Mode(), len(got))
		}
		want = append(want, f.name)
	}
	got, err := names(dir)
	must(t, err)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s has %q, want %q", dir, got, want)
	}
}

func TestClientFilesAreInstalled(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, req := open(t, b), t.Context(), clientRequest(t, b)
		if f := facts(t, h, b); f.Client != nil {
			t.Fatalf("before: %+v", f.Client)
		}
		must(t, h.PutClientFiles(ctx, req))
		b.has(t, req)
		f := facts(t, h, b).Client
		if f == nil || f.Files != req.Files || !bytes.Equal(f.CA, req.CA) || !bytes.Equal(f.Cert, req.Cert) || !f.KeyFits || len(f.Drift) > 0 {
			t.Fatalf("facts: %+v", f)
		}
		// Again is nothing: who watches the files is not woken.
		key := b.path(clientDir, cluster.ClientKeyFile)
		before, err := identifyFile(key)
		must(t, err)
		must(t, h.PutClientFiles(ctx, req))
		if after, err := identifyFile(key); err != nil || after != before {
			t.Errorf("written again: %v", err)
		}
		renewed := clientRequest(t, b)
		renewed.Files.Mode = "0440"
		must(t, h.PutClientFiles(ctx, renewed))
		b.has(t, renewed)
		// A node that leaves keeps it until it is purged.
		must(t, h.Clean(ctx, testCluster))
		b.has(t, renewed)
		must(t, h.Purge(ctx))
		if onMachine() {
			must(t, os.RemoveAll(b.releases)) // what the test put there
			must(t, h.Purge(ctx))
		}
		onlyRoot(t, b)
		if _, err := os.Lstat(b.path("etc/kubernetes")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directories that were made: %v", err)
		}
	})
}

// What changed since is said and put right.
func TestClientFilesDrift(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string) error
		says  string
		fits  bool
	}{
		"the key's mode": {func(_ *testing.T, dir string) error {
			return os.Chmod(filepath.Join(dir, cluster.ClientKeyFile), 0o644)
		}, "apiserver-etcd-client.key is 0644, not 0600", true},
		"no key": {func(_ *testing.T, dir string) error {
			return os.Remove(filepath.Join(dir, cluster.ClientKeyFile))
		}, "apiserver-etcd-client.key is missing", false},
		"another key": {func(t *testing.T, dir string) error {
			_, key := newCA(t).issue(t, "x", netip.IPv6Loopback())
			return os.WriteFile(filepath.Join(dir, cluster.ClientKeyFile), key, 0o600)
		}, "", false},
		"no directory": {func(_ *testing.T, dir string) error { return os.RemoveAll(dir) }, clientDir + " is missing", false},
		"a directory of everybody's": {func(_ *testing.T, dir string) error { return os.Chmod(dir, 0o777) },
			"has mode 0777: only root may write there", false},
	} {
		b := newBox(t)
		h, req := inProcess(t, b), clientRequest(t, b)
		must(t, h.PutClientFiles(t.Context(), req))
		must(t, c.spoil(t, b.path(clientDir)))
		f := facts(t, h, b).Client
		if got := strings.Join(f.Drift, "\n"); !strings.Contains(got, c.says) || c.says == "" && got != "" || f.KeyFits != c.fits {
			t.Errorf("%s: %q, fits %v", name, got, f.KeyFits)
		}
		err := h.PutClientFiles(t.Context(), req)
		if strings.Contains(c.says, "only root") {
			wantGuard(t, err, host.NotRoots)
			continue
		}
		must(t, err)
		besides := []string{}
		if name == "another key" {
			besides = []string{cluster.ClientKeyFile + keptSuffix}
		}
		b.has(t, req, besides...)
	}
}

// The owner of a key is whoever was named, where the helper may give it away.
func TestClientKeyIsWhoseItIsToBe(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, req := inProcess(t, b), clientRequest(t, b)
	if os.Geteuid() == 0 {
		req.Files.Owner, req.Files.Group, req.Files.Mode = "daemon", "daemon", "0440"
	}
	must(t, h.PutClientFiles(t.Context(), req))
	o, err := clientOwner(req.Files)
	must(t, err)
	for _, f := range clientFiles(req) {
		uid, gid, err := ownerOf(b.path(clientDir, f.name))
		must(t, err)
		want := owner{os.Geteuid(), os.Getegid()}
		if o != nil && f.name == cluster.ClientKeyFile {
			want = *o
		}
		if (owner{uid, gid}) != want {
			t.Errorf("%s belongs to %d:%d, not to %v", f.name, uid, gid, want)
		}
	}
	if o == nil {
		return
	}
	must(t, os.Chown(b.path(clientDir, cluster.ClientKeyFile), 0, 0))
	if f := facts(t, h, b).Client; len(f.Drift) != 1 || !strings.Contains(f.Drift[0], "apiserver-etcd-client.key belongs to 0:0, not to daemon:daemon") {
		t.Errorf("%q", f.Drift)
	}
	must(t, h.PutClientFiles(t.Context(), req))
	if f := facts(t, h, b).Client; len(f.Drift) != 0 {
		t.Errorf("%q", f.Drift)
	}
}

// kubeadm's own files of these names, of a local etcd, are kept, once; purge
// takes away what is CKE's and nothing else.
func TestFilesThatWereThereAreKept(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, req := inProcess(t, b), clientRequest(t, b)
	dir := b.path(clientDir)
	must(t, os.MkdirAll(dir, 0o755))
	theirs := map[string]string{cluster.ClientCertFile: "cert", cluster.ClientKeyFile: "key", "ca.crt": "kubernetes"}
	for name, text := range theirs {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	kept := []string{cluster.ClientCertFile + keptSuffix, cluster.ClientKeyFile + keptSuffix, "ca.crt"}
	must(t, h.PutClientFiles(t.Context(), req))
	b.has(t, req, kept...)
	must(t, os.WriteFile(filepath.Join(dir, cluster.ClientCertFile), []byte("a second time"), 0o644))
	must(t, h.PutClientFiles(t.Context(), req))
	b.has(t, req, kept...)
	for name, text := range theirs {
		if name != "ca.crt" {
			name += keptSuffix
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, cluster.ClientCertFile), []byte("theirs again"), 0o644))
	must(t, h.Purge(t.Context()))
	left, err := names(dir)
	must(t, err)
	kept = slices.Sorted(slices.Values(append(kept, cluster.ClientCertFile)))
	if !slices.Equal(left, kept) {
		t.Errorf("left %q, want %q", left, kept)
	}
}

// TestClientFilesAreKnownAfterManyFailures: what CKE put is not taken for
// another's, however often it could not be replaced.
func TestClientFilesAreKnownAfterManyFailures(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	must(t, h.PutClientFiles(t.Context(), clientRequest(t, b)))
	must(t, os.Chmod(b.path(clientDir), 0o777))
	for range maxSums {
		if err := h.PutClientFiles(t.Context(), clientRequest(t, b)); err == nil {
			t.Fatal("the directory is anybody's")
		}
	}
	must(t, os.Chmod(b.path(clientDir), 0o755))
	req := clientRequest(t, b)
	must(t, h.PutClientFiles(t.Context(), req))
	b.has(t, req)
}

func TestClientFilesMoveToAnotherDirectory(t *testing.T) {
	t.Parallel()
	b := newOwnBox(t)
	h, req := inProcess(t, b), clientRequest(t, b)
	must(t, h.PutClientFiles(t.Context(), req))
	moved := clientRequest(t, b)
	moved.Files.Directory = "/etc/kubernetes/etcd/client"
	must(t, h.PutClientFiles(t.Context(), moved))
	b.has(t, moved)
	if _, err := os.Lstat(b.path(clientDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the former directory: %v", err)
	}
	// Back again: what was made on the way is no more.
	must(t, h.PutClientFiles(t.Context(), req))
	b.has(t, req)
	if left, err := names(b.path("etc/kubernetes")); err != nil || !slices.Equal(left, []string{"pki"}) {
		t.Errorf("left %q %v", left, err)
	}
	other := clientRequest(t, b)
	other.Cluster = "another"
	wantGuard(t, h.PutClientFiles(t.Context(), other), host.InUse)
	other.Files.Directory = "/etc/kubernetes"
	must(t, h.PutClientFiles(t.Context(), other))
	must(t, h.Purge(t.Context()))
	onlyRoot(t, b)
}

func clientPoints() []string {
	return []string{
		"client:intent", "client:staged", "client:" + cluster.ClientCAFile, "client:" + cluster.ClientKeyFile,
		"client:" + cluster.ClientCertFile, "client:left",
	}
}

// toBeMoved is a machine with a certificate, and a request to have another one
// in another place.
func toBeMoved(t *testing.T) (b *box, h host.Host, moved host.PutClientFiles) {
	t.Helper()
	b = newOwnBox(t)
	h, moved = inProcess(t, b), clientRequest(t, b)
	must(t, h.PutClientFiles(context.WithoutCancel(t.Context()), clientRequest(t, b)))
	moved.Files.Directory = "/etc/kubernetes/etcd"
	return b, h, moved
}

func TestClientPointsAreAllWalked(t *testing.T) {
	t.Parallel()
	b, _, moved := toBeMoved(t)
	var reached []string
	a := b.agent()
	a.reached = func(p string) { reached = append(reached, p) }
	must(t, host.Local(a.Handler(), b.identity).PutClientFiles(t.Context(), moved))
	if !slices.Equal(reached, clientPoints()) {
		t.Fatalf("reached %q, the crash tests walk %q", reached, clientPoints())
	}
}

// Killed anywhere, the next call ends with the new pair in the new place, and
// purge finds all of it either way.
func TestClientFilesAreFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	for _, point := range clientPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b, h, moved := toBeMoved(t)
			crash(t, b, crashJob{Client: &moved}, point)
			must(t, h.PutClientFiles(t.Context(), moved))
			b.has(t, moved)
			if _, err := os.Lstat(b.path(clientDir)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the former directory: %v", err)
			}
			must(t, h.Purge(t.Context()))
			onlyRoot(t, b)
		})
		t.Run(point+", purged", func(t *testing.T) {
			t.Parallel()
			b, h, moved := toBeMoved(t)
			crash(t, b, crashJob{Client: &moved}, point)
			must(t, h.Purge(t.Context()))
			onlyRoot(t, b)
			if _, err := os.Lstat(b.path(allowedAlways)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("left: %v", err)
			}
		})
	}
}
