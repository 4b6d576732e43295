package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/remote/sshtest"
)

// programs holds the cke-host that TestMain builds for both architectures.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cke-host-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs = dir
		for _, arch := range []string{"amd64", "arm64"} {
			name := "cke-host-linux-" + arch
			if arch == runtime.GOARCH {
				name = "cke-host"
			}
			build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), "cke/cmd/cke-host")
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build cke-host: %v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience bounds each wait; only what hangs comes near it.
const patience = 60 * time.Second

// eventually polls a condition that others bring about.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// machineAt is a machine for tests: a root for its helper, a directory of its
// programs, and an SSH server.
type machineAt struct {
	*sshtest.Server
	root, libexec, bin string
}

// newMachine runs every command of cke in sh, with the machine's programs in
// front; the helper works below the machine's root.
func newMachine(t testing.TB, o sshtest.Options) *machineAt {
	t.Helper()
	m := &machineAt{root: t.TempDir(), bin: t.TempDir()}
	m.libexec = filepath.Join(m.root, "opt/cke/libexec")
	if o.Run == nil {
		o.Run = func(_, command string) *exec.Cmd {
			cmd := exec.Command("sh", "-c", command)
			cmd.Env = []string{"PATH=" + m.bin + ":/usr/bin:/bin"}
			return cmd
		}
	}
	var err error
	m.Server, err = sshtest.Start(o)
	must(t, err)
	t.Cleanup(func() { _ = m.Close() }) // a test may have closed it
	return m
}

// program puts a program of the machine's own in front.
func (m *machineAt) program(t testing.TB, name, script string) {
	t.Helper()
	// A program that is still open in a child of another test's, which is about to become
	// another program, cannot be run (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

// forced answers every command with a helper below the machine's root.
func forced(root string) func(user, command string) *exec.Cmd {
	return func(string, string) *exec.Cmd {
		return exec.Command(filepath.Join(programs, "cke-host"), "serve", "--root", root)
	}
}

func caller() host.Identity { return host.Identity{StoreID: "store-a", Epoch: 1} }

// options reach a machine whose key is trusted.
func (m *machineAt) options(t testing.TB) Options {
	t.Helper()
	identity, err := m.WriteIdentity(t.TempDir())
	must(t, err)
	return Options{
		Identity: identity, Helpers: programs, Caller: caller, Version: "v0", Log: slog.New(slog.DiscardHandler),
		libexec: m.libexec,
		Trusted: func(context.Context, string) (string, error) { return m.HostKeys()[0], nil },
	}
}

// reach opens the machine for a user.
func reach(t testing.TB, o Options, n cluster.Node) (*Hosts, host.Host) {
	t.Helper()
	h := New(o)
	t.Cleanup(func() { must(t, h.Close()) })
	there, err := h.Host(n)
	must(t, err)
	return h, there
}

func facts(ctx context.Context, h host.Host) (host.Facts, error) {
	return h.Facts(ctx, "main", netip.MustParseAddr("127.0.0.1"))
}

// wantTrouble demands a trouble, and that it says these words.
func wantTrouble(t testing.TB, err error, want cluster.Trouble, words ...string) *host.TroubleError {
	t.Helper()
	var got *host.TroubleError
	if !errors.As(err, &got) || got.Trouble != want {
		t.Fatalf("got %v (%T), want trouble %s", err, err, want)
	}
	for _, w := range words {
		if !strings.Contains(got.Message+"\n"+got.Hint, w) {
			t.Errorf("%q is missing in\n%s\nhint: %s", w, got.Message, got.Hint)
		}
	}
	return got
}

func TestFirstContactAsRoot(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{})
	must(t, os.MkdirAll(m.libexec, 0o755))
	old := filepath.Join(m.libexec, "cke-host-"+strings.Repeat("0", 64))
	must(t, os.WriteFile(old, []byte("of before"), 0o755))
	h, there := reach(t, m.options(t), m.Node("root"))
	f, err := facts(t.Context(), there)
	must(t, err)
	if f.Hostname == "" || f.Arch != runtime.GOARCH {
		t.Errorf("%+v", f)
	}
	sum, err := newHelpers(programs).sum(runtime.GOARCH)
	must(t, err)
	names, err := filepath.Glob(m.libexec + "/*")
	must(t, err)
	want := filepath.Join(m.libexec, "cke-host-"+sum)
	if len(names) != 1 || names[0] != want {
		t.Fatalf("there are %v, want %s alone", names, want)
	}
	info, err := os.Stat(want)
	must(t, err)
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v", info.Mode())
	}

	// Damaged on disk, it is not run: it is uploaded again.
	must(t, h.Keep(nil))
	must(t, os.Remove(want)) // the first one may still be ending
	must(t, os.WriteFile(want, []byte("damaged"), 0o755))
	there, err = h.Host(m.Node("root"))
	must(t, err)
	_, err = facts(t.Context(), there)
	must(t, err)
	program, err := os.ReadFile(want)
	must(t, err)
	if sumOf(program) != sum {
		t.Error("the damaged helper is still there")
	}
}
