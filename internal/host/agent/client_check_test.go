package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

func TestDirectoriesThatAreAllowed(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, ctx := inProcess(t, b), t.Context()
	put := func(directory string) error {
		req := clientRequest(t, b)
		req.Files.Directory = directory
		return h.PutClientFiles(ctx, req)
	}
	for _, directory := range []string{"/", "/etc", "/etc/kubernetes2", "/etc/cke/etcd", "/root/.ssh", "/opt/kube/pki"} {
		err := put(directory)
		if directory == "/" {
			wantInvalid(t, err)
			continue
		}
		wantGuard(t, err, host.NotAllowed)
		if !strings.Contains(err.Error(), "add a line with the directory to "+b.path("etc/cke/client-directories")) {
			t.Errorf("no hint: %v", err)
		}
	}
	if _, err := os.Lstat(b.path("opt/kube")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	t.Cleanup(func() { must(t, os.RemoveAll(b.path("opt/kube"))) })
	allowed := b.path("etc/cke/client-directories")
	must(t, os.MkdirAll(filepath.Dir(allowed), 0o755))
	allow := func(text string, mode fs.FileMode) {
		must(t, os.WriteFile(allowed, []byte(text), 0o600))
		must(t, os.Chmod(allowed, mode))
	}
	allow("# control planes of the other kind\n\n  /opt/kube\n", 0o664)
	wantGuard(t, put("/opt/kube/pki"), host.NotRoots)
	allow("/opt/kube/../..\n", 0o644)
	wantGuard(t, put("/opt/kube/pki"), host.NotAllowed)
	allow("/\n", 0o644)
	wantGuard(t, put("/opt/kube/pki"), host.NotAllowed)
	allow("# control planes of the other kind\n\n  /opt/kube\n", 0o644)
	must(t, put("/opt/kube/pki"))
	wantGuard(t, put("/opt/kubes"), host.NotAllowed)
	must(t, os.Remove(allowed))
	must(t, os.Symlink("/etc/hosts", allowed))
	wantGuard(t, put("/opt/kube/pki"), host.ForeignFile)
}

// Root writes through no link, and below nobody's directory but its own.
func TestClientFilesFollowNoLink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  func(dir, outside string) error
		kind host.GuardKind
	}{
		"the directory": {func(dir, outside string) error { return os.Symlink(outside, dir) }, host.ForeignFile},
		"one above": {func(dir, outside string) error {
			return errors.Join(os.Remove(filepath.Dir(dir)), os.Symlink(outside, filepath.Dir(dir)))
		}, host.ForeignFile},
		"no directory": {func(dir, _ string) error { return os.WriteFile(dir, nil, 0o644) }, host.ForeignFile},
		"the key": {func(dir, outside string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.Symlink(filepath.Join(outside, "x"), filepath.Join(dir, cluster.ClientKeyFile)))
		}, host.ForeignFile},
		"a key that is a directory": {func(dir, _ string) error {
			return os.MkdirAll(filepath.Join(dir, cluster.ClientKeyFile), 0o755)
		}, host.ForeignFile},
		"a staged one": {func(dir, outside string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.Symlink(filepath.Join(outside, "x"), filepath.Join(dir, stagedName(cluster.ClientKeyFile))))
		}, ""},
		"a parent of everybody's": {func(dir, _ string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, host.NotRoots},
	} {
		b := newBox(t)
		outside := t.TempDir()
		must(t, os.WriteFile(filepath.Join(outside, "x"), []byte("secret"), 0o600))
		dir := b.path(clientDir)
		must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
		must(t, c.put(dir, outside))
		h, req := inProcess(t, b), clientRequest(t, b)
		if err := h.PutClientFiles(t.Context(), req); c.kind != "" {
			wantGuard(t, err, c.kind)
		} else {
			must(t, err)
			b.has(t, req)
		}
		text, err := os.ReadFile(filepath.Join(outside, "x"))
		if left := tree(t, outside); err != nil || string(text) != "secret" || len(left) != 2 {
			t.Errorf("%s: outside is %q now, %q %v", name, left, text, err)
		}
		must(t, h.Purge(t.Context())) // whatever was refused, it ends
	}
}

func TestClientFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	good := clientRequest(t, b)
	pod := []byte("apiVersion: v1\nkind: Pod\n")
	cases := map[string]func(r *host.PutClientFiles){
		"no mode":               func(r *host.PutClientFiles) { r.Files.Mode = "" },
		"a wide mode":           func(r *host.PutClientFiles) { r.Files.Mode = "0644" },
		"a setuid mode":         func(r *host.PutClientFiles) { r.Files.Mode = "4600" },
		"no certificate":        func(r *host.PutClientFiles) { r.Cert = nil },
		"no key":                func(r *host.PutClientFiles) { r.Key = nil },
		"no CA":                 func(r *host.PutClientFiles) { r.CA = nil },
		"another's key":         func(r *host.PutClientFiles) { r.Key = clientRequest(t, b).Key },
		"a CA that is a key":    func(r *host.PutClientFiles) { r.CA = r.Key },
		"a key in the CA":       func(r *host.PutClientFiles) { r.CA = slices.Concat(r.CA, r.Key) },
		"a pod before the CA":   func(r *host.PutClientFiles) { r.CA = slices.Concat(pod, r.CA) },
		"a pod behind the cert": func(r *host.PutClientFiles) { r.Cert = slices.Concat(r.Cert, pod) },
		"a pod between":         func(r *host.PutClientFiles) { r.CA = slices.Concat(r.CA, pod, r.CA) },
		"headers in the CA": func(r *host.PutClientFiles) {
			r.CA = bytes.Replace(r.CA, []byte("-----\n"), []byte("-----\nkind: Pod\n\n"), 1)
		},
		"a relative directory": func(r *host.PutClientFiles) { r.Files.Directory = "etc/kubernetes/pki" },
		"a way up":             func(r *host.PutClientFiles) { r.Files.Directory = "/etc/kubernetes/../cron.d" },
		"a slash at the end":   func(r *host.PutClientFiles) { r.Files.Directory = "/etc/kubernetes/" },
		"a line in it":         func(r *host.PutClientFiles) { r.Files.Directory = "/etc/kubernetes/a\nb" },
		"a long one": func(r *host.PutClientFiles) {
			r.Files.Directory = "/etc/kubernetes/" + strings.Repeat("a/", 1000) + "a"
		},
	}
	for _, name := range hostile() {
		if name == "A" || name == "a.b" {
			continue // there are users of such names
		}
		cases[fmt.Sprintf("owner %.20q", name)] = func(r *host.PutClientFiles) { r.Files.Owner = name }
		cases[fmt.Sprintf("group %.20q", name)] = func(r *host.PutClientFiles) { r.Files.Group = name }
	}
	for name, spoil := range cases {
		req := good
		spoil(&req)
		var i *host.InvalidError
		if err := h.PutClientFiles(t.Context(), req); !errors.As(err, &i) || len(i.Reason) > 2000 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, spoil := range []func(f *cluster.ClientFiles){
		func(f *cluster.ClientFiles) { f.Owner = "nobody-of-this-name" },
		func(f *cluster.ClientFiles) { f.Group = "no-group-of-this-name" },
	} {
		req := good
		spoil(&req.Files)
		wantGuard(t, h.PutClientFiles(t.Context(), req), host.NoAccount)
	}
	if _, err := os.Lstat(b.path(allowedAlways)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was put: %v", err)
	}
	good.Cert = bytes.TrimRight(good.Cert, "\n") // as Vault has it
	must(t, h.PutClientFiles(t.Context(), good))
	b.has(t, good)
}
