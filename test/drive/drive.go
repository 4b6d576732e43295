// Package drive runs the real programs of one installation of CKE for
// end-to-end tests: the daemon, ckecli and etcd's own tools. Where the nodes
// live, on loopback or on machines, is the caller's.
package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
)

// Patience bounds every wait; it is long because it only matters when something
// is wrong, and the machine may be busy.
const Patience = 90 * time.Second

// Installation is one CKE below a directory of its own, with a cluster called
// main.
type Installation struct {
	T   testing.TB
	Dir string
	Bin string // the built programs
	Log string // of the daemon

	daemon *exec.Cmd
	ended  chan struct{}
}

// New prepares an installation without starting anything. extra is added to its
// config.yml. At the end of the test its daemon is killed and its directory
// removed.
func New(t testing.TB, extra string) *Installation {
	t.Helper()
	dir, err := os.MkdirTemp("", "cke-test-")
	if err != nil {
		t.Fatal(err)
	}
	in := &Installation{T: t, Dir: dir, Bin: Programs(t), Log: filepath.Join(dir, "cke.log")}
	t.Cleanup(in.cleanup)
	releases := filepath.Join(dir, "releases", "v3.7.3")
	if err := os.MkdirAll(releases, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(in.Bin, "etcd"), filepath.Join(releases, "etcd")); err != nil {
		t.Fatal(err)
	}
	in.Write("config.yml", fmt.Sprintf(`data_dir: %[1]s/state
key_file: %[1]s/seal.key
socket: %[1]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
%[2]s`, dir, extra))
	return in
}

// Programs is the directory of the built programs, found upwards from the test's.
func Programs(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	for _, p := range []string{"cke", "ckecli", "cke-host", "etcd", "etcdctl", "etcdutl"} {
		if _, err := os.Stat(filepath.Join(dir, "bin", p)); err != nil {
			t.Fatalf("%v; run make build first", err)
		}
	}
	return filepath.Join(dir, "bin")
}

func (in *Installation) cleanup() {
	if in.T.Failed() {
		in.T.Logf("the end of the daemon's log:\n%s", lastLines(in.Log, 80))
	}
	in.Kill()
	if err := os.RemoveAll(in.Dir); err != nil {
		in.T.Logf("clean up: %v", err)
	}
}

func lastLines(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Write writes a file of the installation, 0600, and returns its path.
func (in *Installation) Write(name, text string) string {
	in.T.Helper()
	path := filepath.Join(in.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		in.T.Fatal(err)
	}
	return path
}

// Start runs the daemon with more environment and waits until its API answers
// or it has ended; false when it ended.
func (in *Installation) Start(environ ...string) bool {
	in.T.Helper()
	log, err := os.OpenFile(in.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		in.T.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(in.Bin, "cke"), "--config", filepath.Join(in.Dir, "config.yml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), environ...)
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		in.T.Fatal(err)
	}
	ended := make(chan struct{})
	in.daemon, in.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(ended)
	}()
	alive := true
	in.Eventually("cke answers or ends", func() error {
		select {
		case <-ended:
			alive = false
			return nil
		default:
		}
		_, err := in.Client().Leader(context.Background())
		return err
	})
	return alive
}

// PID is the daemon's.
func (in *Installation) PID() int { return in.daemon.Process.Pid }

// Ended is closed when the daemon has ended.
func (in *Installation) Ended() <-chan struct{} { return in.ended }

// Kill ends the daemon with SIGKILL, if it runs.
func (in *Installation) Kill() { in.end(syscall.SIGKILL) }

// Stop ends the daemon gracefully.
func (in *Installation) Stop() { in.end(syscall.SIGTERM) }

func (in *Installation) end(sig syscall.Signal) {
	if in.daemon == nil {
		return
	}
	_ = in.daemon.Process.Signal(sig) // it may have ended already
	<-in.ended
	in.daemon = nil
}

// Client calls the daemon's API.
func (in *Installation) Client() *api.Client {
	in.T.Helper()
	c, err := api.NewClient("unix://"+filepath.Join(in.Dir, "cke.sock"), api.ClientTLS{})
	if err != nil {
		in.T.Fatal(err)
	}
	return c
}

// Eventually polls until fn succeeds.
func (in *Installation) Eventually(what string, fn func() error) {
	in.T.Helper()
	in.Within(Patience, what, fn)
}

// Within polls until fn succeeds, for so long.
func (in *Installation) Within(patience time.Duration, what string, fn func() error) {
	in.T.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := fn()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			in.T.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-again.C:
		}
	}
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a program of bin/ in the installation's directory.
func (in *Installation) Run(program string, args ...string) Result {
	in.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(in.Bin, program), args...)
	cmd.Dir = in.Dir
	cmd.Env = in.Environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		in.T.Fatalf("%s %v: %v", program, args, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Environ is the environment in which ckecli finds this installation.
func (in *Installation) Environ() []string {
	return append(os.Environ(), "CKE_SERVER=unix://"+filepath.Join(in.Dir, "cke.sock"), "PATH="+in.Bin+":"+os.Getenv("PATH"))
}

// CLI runs ckecli, which must succeed, and returns what it printed.
func (in *Installation) CLI(args ...string) string {
	in.T.Helper()
	r := in.Run("ckecli", args...)
	if r.Code != 0 {
		in.T.Fatalf("ckecli %v: exit %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// CLIFails runs ckecli, which must end with this code and say all of these.
func (in *Installation) CLIFails(code int, args []string, parts ...string) {
	in.T.Helper()
	r := in.Run("ckecli", args...)
	if r.Code != code {
		in.T.Errorf("ckecli %v: exit %d, want %d\n%s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	in.Says(strings.Join(args, " "), r.Stdout+r.Stderr, parts...)
}

// Says checks that each of these is part of a text.
func (in *Installation) Says(what, text string, parts ...string) {
	in.T.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			in.T.Errorf("%s: %q is missing in\n%s", what, p, text)
		}
	}
}

// Decode reads JSON a command printed.
func Decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}
