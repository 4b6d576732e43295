package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/host/remote/sshtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBackend is a running daemon that logs in with this identity.
func newBackend(t *testing.T, identity string) backend {
	t.Helper()
	dir := t.TempDir()
	cfg := config.Daemon{
		DataDir: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "seal.key"), Socket: filepath.Join(dir, "s"),
		SSH: config.SSH{Identity: identity, Agent: config.None, Helpers: filepath.Dir(helperProgram)},
	}.WithDefaults()
	a := New(Options{Config: cfg, Version: "v0", Log: slog.New(slog.DiscardHandler)})
	must(t, a.Start(t.Context()))
	t.Cleanup(func() { must(t, a.Stop(context.WithoutCancel(t.Context()))) })
	return backend{a}
}

// helperProgram is the cke-host that TestMain builds.
var helperProgram string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cke-host-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		helperProgram = filepath.Join(dir, "cke-host")
		if out, err := exec.Command("go", "build", "-o", helperProgram, "cke/cmd/cke-host").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build cke-host: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func specOf(n cluster.Node) []byte {
	text := fmt.Sprintf("name: main\nnodes:\n  - {address: %s, hostname: cp1, control_plane: true, user: %s, port: %d", n.Address, n.User, n.Port)
	if n.HostKey != "" {
		text += ", host_key: '" + n.HostKey + "'"
	}
	return []byte(text + "}\n")
}

// rule waits until the plan gives this as the reason for the node.
func rule(t *testing.T, b backend, want string) string {
	t.Helper()
	deadline := time.After(90 * time.Second)
	for {
		p, err := b.Plan(t.Context(), "main")
		must(t, err)
		for _, r := range p.Reasons {
			if r.Rule == want && r.Node == "cp1" {
				return r.Text + "\n" + r.Hint
			}
		}
		select {
		case <-deadline:
			t.Fatalf("no %s in\n%s", want, p)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func wantRefused(t *testing.T, err error, words ...string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeRefused {
		t.Fatalf("got %v (%T)", err, err)
	}
	for _, w := range words {
		if !strings.Contains(e.Message+"\n"+e.Hint, w) {
			t.Errorf("%q is missing in %s\nhint: %s", w, e.Message, e.Hint)
		}
	}
}

// From a host nobody knows to one that is trusted, and to one that is another
// all of a sudden.
func TestTrust(t *testing.T) {
	root := t.TempDir()
	run := func(string, string) *exec.Cmd { return exec.Command(helperProgram, "serve", "--root", root) }
	s, err := sshtest.Start(sshtest.Options{HostKeys: []string{"rsa", "ed25519"}, Run: run})
	must(t, err)
	identity, err := s.WriteIdentity(t.TempDir())
	must(t, err)
	b := newBackend(t, identity)
	ctx := api.WithCaller(t.Context(), "ada")
	n := s.Node("cke")
	_, err = b.PutSpec(ctx, "cluster.yml", specOf(n))
	must(t, err)

	print := s.Fingerprints()[1]
	if text := rule(t, b, "hostKeyIsUnknown"); !strings.Contains(text, "ckecli node trust 127.0.0.1 --fingerprint "+print) {
		t.Errorf("%s", text)
	}
	st, err := b.Status(ctx, "main")
	must(t, err)
	if got := st.Nodes[0]; got.Transport != "ssh" || got.Login != "cke@"+s.Address().String() || got.Trouble != cluster.HostKeyUnknown || got.Hint == "" {
		t.Errorf("%+v", got)
	}

	_, err = b.Trust(ctx, "main", "cp1", "SHA256:pTmsXRcO6yOuMPAPmZ8j8Vb7EGhS5cQzqUtcsmS9s+k")
	wantRefused(t, err, "shows ED25519 "+print, "nothing was changed")
	var invalid *api.Error
	if _, err = b.Trust(ctx, "main", "cp1", "MD5:00"); !errors.As(err, &invalid) || invalid.Code != api.CodeInvalid {
		t.Errorf("got %v", err)
	}
	if _, err = b.Trust(ctx, "main", "cp2", ""); !errors.As(err, &invalid) || invalid.Code != api.CodeNotFound {
		t.Errorf("got %v", err)
	}
	for range 2 { // the second time nothing is left to do
		k, err := b.Trust(ctx, "main", "127.0.0.1", "")
		must(t, err)
		if want := (api.TrustedKey{Node: "cp1", Address: s.Address().String(), Type: "ED25519", Fingerprint: print}); k != want {
			t.Fatalf("%+v", k)
		}
	}
	rule(t, b, "versionMustBeInstalled") // it is talked to
	wantHistory(t, b, "trust ED25519 "+print+" of cp1", 1)

	// Another machine under the same address.
	must(t, s.Close())
	other, err := sshtest.Start(sshtest.Options{Run: run, Address: s.Address()})
	must(t, err)
	defer other.Close()
	now := other.Fingerprints()[0]
	if text := rule(t, b, "hostKeyHasChanged"); !strings.Contains(text, print) || !strings.Contains(text, now) {
		t.Errorf("%s", text)
	}
	_, err = b.Trust(ctx, "main", "cp1", "")
	wantRefused(t, err, print, now, "ckecli node trust 127.0.0.1 --fingerprint "+now, "ckecli node trust")
	k, err := b.Trust(ctx, "main", "cp1", now)
	must(t, err)
	if k.Fingerprint != now {
		t.Errorf("%+v", k)
	}
	rule(t, b, "loginIsRefused") // it lets nobody in that the first one let in
	wantHistory(t, b, "trust ED25519 "+now+" of cp1", 1)

	// What cluster.yml says stands above.
	n.HostKey = print
	_, err = b.PutSpec(ctx, "cluster.yml", specOf(n))
	must(t, err)
	rule(t, b, "hostKeyHasChanged")
	_, err = b.Trust(ctx, "main", "cp1", now)
	wantRefused(t, err, "host_key in cluster.yml", "correct it there")
}

func wantHistory(t *testing.T, b backend, action string, times int) {
	t.Helper()
	list, err := b.History(t.Context(), "main", 100)
	must(t, err)
	n := 0
	for _, r := range list {
		if r.Action == action && r.By == "ada" {
			n++
		}
	}
	if n != times {
		t.Errorf("%q is %d times in the history: %v", action, n, list)
	}
}

func TestTrustOfThisMachine(t *testing.T) {
	b := newBackend(t, "/nonexistent/id")
	_, err := b.PutSpec(t.Context(), "cluster.yml", []byte("name: main\nnodes:\n  - {address: 127.0.0.1, hostname: cp1, control_plane: true}\n"))
	must(t, err)
	_, err = b.Trust(t.Context(), "main", "cp1", "")
	wantRefused(t, err, "is on this machine")
}
