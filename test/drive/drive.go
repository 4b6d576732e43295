// Package drive runs the real programs of one installation of CKE for
// end-to-end tests: the daemon, ckecli and etcd's own tools. Where the nodes
// live, on loopback or on machines, is the caller's.
package drive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
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
	// Servers is where ckecli and Client ask, as CKE_SERVER has it; empty: where the
	// installation's own daemon serves.
	Servers string

	daemon *exec.Cmd
	ended  chan struct{}
	lately *lately
}

// lately keeps who polls from leaving a connection behind with each look.
type lately struct {
	mu   sync.Mutex
	last *api.Client
}

func (l *lately) with(c *api.Client) *api.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil {
		l.last.CloseIdle()
	}
	l.last = c
	return c
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
	in := &Installation{T: t, Dir: dir, Bin: Programs(t), Log: filepath.Join(dir, "cke.log"), lately: &lately{}}
	t.Cleanup(in.cleanup)
	in.release(cluster.DefaultVersion, "etcd")
	in.release(OlderVersion, "etcd-"+cluster.MinorOf(OlderVersion).String()+"/etcd")
	in.Write("config.yml", fmt.Sprintf(`data_dir: %[1]s/state
key_file: %[1]s/seal.key
socket: %[1]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
%[2]s`, dir, extra))
	return in
}

// OlderVersion is the etcd of the line before, which deps/etcd-3.6 builds.
const OlderVersion = "3.6.16"

// release lets the installation hand out a built etcd.
func (in *Installation) release(version, program string) {
	in.T.Helper()
	dir := filepath.Join(in.Dir, "releases", "v"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		in.T.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(in.Bin, program), filepath.Join(dir, "etcd")); err != nil {
		in.T.Fatal(err)
	}
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
	for _, p := range []string{"cke", "ckecli", "cke-host", "etcd", "etcdctl", "etcdutl", "etcd-3.6/etcd"} {
		if _, err := os.Stat(filepath.Join(dir, "bin", p)); err != nil {
			t.Fatalf("%v; run make build first", err)
		}
	}
	return filepath.Join(dir, "bin")
}

func (in *Installation) cleanup() {
	if in.T.Failed() {
		in.T.Logf("the end of the daemon's log:\n%s", LastLines(in.Log, 80))
	}
	in.Kill()
	if err := os.RemoveAll(in.Dir); err != nil {
		in.T.Logf("clean up: %v", err)
	}
}

// LastLines is the end of a file.
func LastLines(path string, n int) string {
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

// In is the same installation as seen by a subtest: what fails, fails there.
// Daemons are started and ended by the one it was made from.
func (in *Installation) In(t testing.TB) *Installation {
	sub := *in
	sub.T = t
	return &sub
}

// At is an installation with the same programs in another directory, which is
// the caller's to fill, end and remove.
func (in *Installation) At(dir string) *Installation {
	return &Installation{T: in.T, Dir: dir, Bin: in.Bin, Log: filepath.Join(dir, "cke.log"), lately: &lately{}}
}

// Start runs the daemon and waits until its API answers or it has ended; false
// when it ended.
func (in *Installation) Start(flags ...string) bool {
	in.T.Helper()
	return in.StartWith(nil, flags...)
}

// StartWith is Start with more environment.
func (in *Installation) StartWith(environ []string, flags ...string) bool {
	in.T.Helper()
	log, err := os.OpenFile(in.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		in.T.Fatal(err)
	}
	args := append([]string{"--config", filepath.Join(in.Dir, "config.yml")}, flags...)
	cmd := exec.Command(filepath.Join(in.Bin, "cke"), args...)
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

// ProcessState is how the daemon ended, nil while it runs.
func (in *Installation) ProcessState() *os.ProcessState { return in.daemon.ProcessState }

// Kill ends the daemon with SIGKILL, if it runs.
func (in *Installation) Kill() { in.end(syscall.SIGKILL) }

// Stop ends the daemon gracefully and returns how it ended.
func (in *Installation) Stop() *os.ProcessState { return in.end(syscall.SIGTERM) }

func (in *Installation) end(sig syscall.Signal) *os.ProcessState {
	if in.daemon == nil {
		return nil
	}
	_ = in.daemon.Process.Signal(sig) // it may have ended already
	<-in.ended
	state := in.daemon.ProcessState
	in.daemon = nil
	return state
}

// Socket is where the installation's own daemon serves.
func (in *Installation) Socket() string { return "unix://" + filepath.Join(in.Dir, "cke.sock") }

func (in *Installation) servers() string { return cmp.Or(in.Servers, in.Socket()) }

// Client calls the daemon's API.
func (in *Installation) Client() *api.Client {
	in.T.Helper()
	c, err := api.NewClient(in.servers(), api.ClientTLS{})
	if err != nil {
		in.T.Fatal(err)
	}
	return in.lately.with(c)
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

// Long asks for the long forms of the tests.
func Long() bool { return os.Getenv("CKE_TEST_LONG") == "1" }

// Seed is what a random sample depends on.
func Seed(t testing.TB) uint64 {
	t.Helper()
	text := os.Getenv("CKE_TEST_SEED")
	if text == "" {
		text = strconv.FormatUint(rand.Uint64(), 10) //nolint:gosec // which sample is tried is no secret
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("CKE_TEST_SEED: %v", err)
	}
	t.Logf("CKE_TEST_SEED=%d repeats this sample", seed)
	return seed
}
