// Package e2e drives the real programs: cke, ckecli and etcd, as processes on
// loopback addresses, without root.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/record"
)

// patience bounds every wait; it is long because it only matters when something
// is wrong, and the machine may be busy.
const patience = 90 * time.Second

// env is one installation of CKE below a directory of its own, on a loopback
// network of its own.
type env struct {
	t   *testing.T
	dir string
	net string // such as "127.81.3."
	bin string

	daemon *exec.Cmd
	ended  chan struct{}
	log    string
}

// newEnv prepares an installation without starting anything. At the end of the
// test its daemon and members are ended, by pid.
func newEnv(t *testing.T) *env {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"cke", "ckecli", "etcd", "etcdctl", "etcdutl"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			t.Fatalf("%v; run make build first", err)
		}
	}
	dir, err := os.MkdirTemp("", "cke-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, dir: dir, bin: bin, net: freeNet(t), log: filepath.Join(dir, "cke.log")}
	t.Cleanup(e.cleanup)
	releases := filepath.Join(dir, "releases", "v3.7.3")
	if err := os.MkdirAll(releases, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(bin, "etcd"), filepath.Join(releases, "etcd")); err != nil {
		t.Fatal(err)
	}
	e.write("config.yml", fmt.Sprintf(`data_dir: %[1]s/state
key_file: %[1]s/seal.key
socket: %[1]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
interval: 2s
`, dir))
	return e
}

// newCluster is an installation with a settled cluster on these nodes.
func newCluster(t *testing.T, nodes ...int) *env {
	t.Helper()
	e := newEnv(t)
	e.start()
	e.set(nodes...)
	return e
}

// freeNet picks a loopback /24 on which nobody listens at the members' ports.
func freeNet(t *testing.T) string {
	t.Helper()
	for range 50 {
		n := fmt.Sprintf("127.%d.%d.", 20+rand.IntN(200), 1+rand.IntN(250))
		l, err := net.Listen("tcp", n+"1:2379")
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatal("no free loopback network found")
	return ""
}

func (e *env) cleanup() {
	if e.t.Failed() {
		e.t.Logf("the end of the daemon's log:\n%s", lastLines(e.log, 60))
	}
	e.kill()
	for _, pid := range e.members() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
	}
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Logf("clean up: %v", err)
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

func (e *env) write(name, text string) string {
	e.t.Helper()
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path
}

// addr is the address of node i.
func (e *env) addr(i int) string { return e.net + strconv.Itoa(i) }

// clusterYAML is a cluster.yml with these nodes, each cpI at address I.
func (e *env) clusterYAML(nodes ...int) string {
	var b strings.Builder
	b.WriteString("name: main\nnodes:\n")
	for _, i := range nodes {
		fmt.Fprintf(&b, "  - {address: %s, hostname: cp%d, control_plane: true}\n", e.addr(i), i)
	}
	// The disk is shared with all other tests; one of its own is measured elsewhere.
	b.WriteString("etcd: {quota: 512MiB}\npreflight: {max_fsync: 10s}\n")
	return b.String()
}

// start runs the daemon and waits until its API answers or it has ended; false
// when it ended.
func (e *env) start(extra ...string) bool {
	e.t.Helper()
	return e.startWith(nil, extra...)
}

func (e *env) startWith(environ []string, args ...string) bool {
	e.t.Helper()
	log, err := os.OpenFile(e.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	args = append([]string{"--config", filepath.Join(e.dir, "config.yml")}, args...)
	cmd := exec.Command(filepath.Join(e.bin, "cke"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), environ...)
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		e.t.Fatal(err)
	}
	e.daemon, e.ended = cmd, make(chan struct{})
	ended := e.ended
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(ended)
	}()
	alive := true
	e.eventually("cke answers or ends", func() error {
		select {
		case <-ended:
			alive = false
			return nil
		default:
		}
		_, err := e.client().Leader(context.Background())
		return err
	})
	return alive
}

func (e *env) client() *api.Client {
	e.t.Helper()
	c, err := api.NewClient("unix://"+filepath.Join(e.dir, "cke.sock"), api.ClientTLS{})
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// kill ends the daemon with SIGKILL.
func (e *env) kill() { e.end(syscall.SIGKILL) }

// stop ends the daemon gracefully.
func (e *env) stop() { e.end(syscall.SIGTERM) }

func (e *env) end(sig syscall.Signal) {
	if e.daemon == nil {
		return
	}
	_ = e.daemon.Process.Signal(sig) // it may have ended already
	<-e.ended
	e.daemon = nil
}

// eventually polls until fn succeeds.
func (e *env) eventually(what string, fn func() error) {
	e.t.Helper()
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
			e.t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-again.C:
		}
	}
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program of bin/ in the installation's directory.
func (e *env) run(program string, args ...string) result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, program), args...)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), "CKE_SERVER=unix://"+filepath.Join(e.dir, "cke.sock"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		e.t.Fatalf("%s %v: %v", program, args, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// cli runs ckecli, which must succeed, and returns what it printed.
func (e *env) cli(args ...string) string {
	e.t.Helper()
	r := e.run("ckecli", args...)
	if r.code != 0 {
		e.t.Fatalf("ckecli %v: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// set puts a cluster.yml and waits until it is settled.
func (e *env) set(nodes ...int) {
	e.t.Helper()
	e.cli("cluster", "set", e.write("cluster.yml", e.clusterYAML(nodes...)), "--wait")
}

func (e *env) status() api.Status {
	e.t.Helper()
	var s api.Status
	e.eventually("status", func() (err error) {
		s, err = e.client().Status(context.Background(), "main")
		return err
	})
	return s
}

// settled waits until CKE has nothing left to do.
func (e *env) settled() api.Status {
	e.t.Helper()
	var s api.Status
	e.eventually("the cluster settles", func() error {
		s = e.status()
		if !s.Settled {
			return fmt.Errorf("plan:\n%s", s.Plan)
		}
		return nil
	})
	return s
}

// blocked waits until the plan is blocked by this rule and has no steps left.
func (e *env) blocked(rule string) api.Status {
	e.t.Helper()
	var s api.Status
	e.eventually("the plan is blocked by "+rule, func() error {
		s = e.status()
		for _, r := range s.Plan.Reasons {
			if r.Rule == rule && len(s.Plan.Steps) == 0 {
				return nil
			}
		}
		return fmt.Errorf("plan:\n%s", s.Plan)
	})
	return s
}

// members are the pids of this installation's etcd processes, by node.
func (e *env) members() map[string]int {
	found := map[string]int{}
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		e.t.Fatal(err)
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil || len(b) == 0 {
			continue // it has ended
		}
		args := strings.Split(string(b), "\x00")
		if filepath.Base(args[0]) != "etcd" {
			continue
		}
		for _, a := range args {
			node, ok := strings.CutPrefix(a, "--data-dir="+e.dir+"/nodes/")
			if !ok {
				continue
			}
			node, _, _ = strings.Cut(node, "/")
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(d)))
			if err != nil {
				e.t.Fatal(err)
			}
			found[node] = pid
		}
	}
	return found
}

// killMember ends a node's member with SIGKILL and waits until it is gone.
func (e *env) killMember(node string) {
	e.t.Helper()
	pid, ok := e.members()[node]
	if !ok {
		e.t.Fatalf("no member runs on %s", node)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
	e.eventually("the member is gone", func() error {
		if e.members()[node] == pid {
			return fmt.Errorf("pid %d runs", pid)
		}
		return nil
	})
}

// dataDirs lists a node's data directories, those in place and those aside.
func (e *env) dataDirs(node string) (inPlace, aside []string) {
	e.t.Helper()
	glob := func(p string) []string {
		m, err := filepath.Glob(filepath.Join(e.dir, "nodes", node, "var/lib/cke", p))
		if err != nil {
			e.t.Fatal(err)
		}
		return m
	}
	return glob("etcd/main/*"), glob("etcd-aside/main/*")
}

// wipe removes a stopped member's data.
func (e *env) wipe(node string) {
	e.t.Helper()
	dirs, _ := e.dataDirs(node)
	if len(dirs) == 0 {
		e.t.Fatalf("%s has no data to wipe", node)
	}
	for _, d := range dirs {
		if err := os.RemoveAll(d); err != nil {
			e.t.Fatal(err)
		}
	}
}

// decode reads JSON a command printed.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// history is everything that was done, oldest first.
func (e *env) history() []record.Record {
	e.t.Helper()
	h, err := e.client().History(context.Background(), "main", 1000)
	if err != nil {
		e.t.Fatal(err)
	}
	return h
}

// hold listens on a node's port, as another program would.
func (e *env) hold(node, port int) net.Listener {
	e.t.Helper()
	l, err := net.Listen("tcp", e.addr(node)+":"+strconv.Itoa(port))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = l.Close() }) // closed earlier where the test goes on
	return l
}
