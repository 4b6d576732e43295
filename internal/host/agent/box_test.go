package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/remote"
	"cke/internal/host/remote/sshtest"
)

const (
	testVersion = "3.7.3"
	testCluster = "prod"
)

// helperProgram is the cke-host that TestMain builds.
var helperProgram string

func TestMain(m *testing.M) {
	if point := os.Getenv(crashPoint); point != "" {
		crashHelper(point)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cke-host-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if helperProgram = os.Getenv("CKE_TEST_HELPER"); helperProgram != "" {
			return m.Run()
		}
		helperProgram = filepath.Join(dir, "cke-host")
		if out, err := exec.Command("go", "build", "-o", helperProgram, "cke/cmd/cke-host").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build cke-host: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func etcdBinary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CKE_ETCD_BIN")
	if path == "" {
		path = "../../../bin/etcd"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	return abs
}

// machineVar makes the tests use the machine they run on, as a whole, with
// systemd: test/lab runs them so, in a machine of their own.
const machineVar = "CKE_TEST_MACHINE"

func onMachine() bool { return os.Getenv(machineVar) == "systemd" }

// runtimeKind is the runtime that the tests are about.
func runtimeKind() Runtime {
	if onMachine() {
		return SystemdRuntime
	}
	return ProcessRuntime
}

// processOnly says why a test is not for a machine of its own.
func processOnly(t testing.TB, why string) {
	t.Helper()
	if onMachine() {
		t.Skip("with systemd: " + why)
	}
}

// box is one machine: a root of its own and an address of its own.
type box struct {
	root     string
	releases string
	addr     netip.Addr
	id       atomic.Pointer[host.Identity]

	mu     sync.Mutex
	agents []*Agent
}

func newBox(t testing.TB) *box {
	t.Helper()
	b := &box{
		addr: netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(255)), byte(1 + rand.IntN(250))}),
	}
	if onMachine() {
		b.root, b.releases = "/", "/opt/cke/etcd"
		bareMachine(t)
		t.Cleanup(func() { b.hangUp(); bareMachine(t) })
	} else {
		b.root, b.releases = rootDir(t), t.TempDir()
	}
	b.id.Store(&host.Identity{StoreID: "store-a", Epoch: 1})
	b.release(t, testVersion)
	t.Cleanup(func() { b.killAll(t) })
	return b
}

// rootDir is a directory that is removed only once the agents have written down
// how the members ended, which they do while the test is over already.
func rootDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cke-agent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the root is removed", func() bool { return os.RemoveAll(dir) == nil })
	})
	root := filepath.Join(dir, "root") // the directory above it is this test's alone, too
	must(t, os.Mkdir(root, 0o700))
	return root
}

func (b *box) release(t testing.TB, version string) {
	t.Helper()
	dir := filepath.Join(b.releases, "v"+version)
	put := os.Symlink
	if onMachine() {
		put = os.Link // the members' user cannot go everywhere
	}
	must(t, errors.Join(os.MkdirAll(dir, 0o755), put(etcdBinary(t), filepath.Join(dir, "etcd"))))
}

func (b *box) identity() host.Identity { return *b.id.Load() }

func (b *box) agent() *Agent {
	a := New(Options{
		Root: b.root, Releases: b.releases, Helper: "test", Runtime: runtimeKind(),
		Log: slog.New(slog.DiscardHandler),
	})
	a.gatewaysRun(helperProgram)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agents = append(b.agents, a)
	return a
}

// gatewaysRun makes a gateway of the helper, not of this test's program.
func (a *Agent) gatewaysRun(program string) {
	if a.gateways != nil {
		a.gateways.program = program
	}
}

// hangUp closes the agents' connections to systemd, which tells each of them
// everything that happens. A program that serves has one, and keeps it.
func (b *box) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.agents {
		if s, ok := a.runtime.(*services); ok && s.bus.conn != nil {
			s.bus.drop(s.bus.conn)
		}
	}
}

// etcds are the pids of every etcd on this machine.
func (b *box) etcds(t testing.TB) []int {
	t.Helper()
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range cmdlines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), "\x00--data-dir="+filepath.Join(b.root, "var")+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// killAll ends this machine's members and waits: the directories go next.
func (b *box) killAll(t testing.TB) {
	eventually(t, "etcd ends", func() bool {
		if onMachine() {
			return true // bareMachine does
		}
		pids := b.etcds(t)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
		return len(pids) == 0
	})
}

// founder is a unit that founds a one-member cluster here.
func (b *box) founder() cluster.Unit {
	peer := cluster.URL(b.addr, cluster.PeerPort)
	const token = "token-1"
	return cluster.Unit{
		Cluster: testCluster, Node: "cp1", Member: cluster.BootstrapMemberID(token, peer),
		Address: b.addr, Version: testVersion, Quota: 1 << 30,
		Founding: &cluster.Founding{New: true, Token: token, Peers: map[cluster.NodeName]string{"cp1": peer}},
	}
}

func (b *box) dataDir(u cluster.Unit) string { return b.agent().layout.data(u.Cluster, u.Member) }

// install brings a machine to where a member can be started.
func (b *box) install(t testing.TB, h host.Host, u cluster.Unit) {
	t.Helper()
	must(t, h.PutFiles(t.Context(), host.PutFiles{Cluster: u.Cluster, Files: newFiles(t, b.addr)}))
	must(t, h.InstallUnit(t.Context(), u))
}

// opener reaches a machine's agent.
type opener func(t testing.TB, b *box) host.Host

func inProcess(t testing.TB, b *box) host.Host {
	return host.Local(b.agent().Handler(), b.identity)
}

// inChild is a real `cke-host serve` at the other end of pipes.
func inChild(t testing.TB, b *box) host.Host {
	h, _ := startChild(t, b)
	return h
}

func startChild(t testing.TB, b *box) (host.Host, *exec.Cmd) {
	t.Helper()
	args := []string{"serve"}
	if !onMachine() {
		args = append(args, "--root", b.root, "--releases", b.releases)
	}
	cmd := exec.Command(helperProgram, args...)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	h := host.Stdio(pipes{out, in}, b.identity)
	t.Cleanup(func() {
		_ = h.Close() // a test may have closed or broken it
		_ = cmd.Wait()
	})
	return h, cmd
}

type pipes struct {
	io.Reader
	in io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close closes only the helper's stdin; the helper then closes its stdout.
func (p pipes) Close() error { return p.in.Close() }

// overSSH is a `cke-host serve` as the forced command of an SSH server.
func overSSH(t testing.TB, b *box) host.Host {
	t.Helper()
	s, err := sshtest.Start(sshtest.Options{Run: func(string, string) *exec.Cmd {
		return exec.Command(helperProgram, "serve", "--root", b.root, "--releases", b.releases)
	}})
	must(t, err)
	identity, err := s.WriteIdentity(t.TempDir())
	must(t, err)
	hosts := remote.New(remote.Options{
		Identity: identity, Helpers: filepath.Dir(helperProgram), Caller: b.identity,
		Trusted: func(context.Context, string) (string, error) { return s.HostKeys()[0], nil },
	})
	t.Cleanup(func() { must(t, errors.Join(hosts.Close(), s.Close())) })
	h, err := hosts.Host(s.Node("cke"))
	must(t, err)
	// On a busy machine a handshake may take longer than it is waited for.
	eventually(t, "the machine is reached", func() bool {
		_, err := h.Facts(context.WithoutCancel(t.Context()), testCluster, b.addr)
		return err == nil
	})
	return h
}

// bothWays, and over SSH too, runs a case through each transport, each on a machine of its own.
func everyWay(t *testing.T, run func(t *testing.T, b *box, open opener)) {
	for name, open := range map[string]opener{"in-process": inProcess, "child": inChild, "ssh": overSSH} {
		t.Run(name, func(t *testing.T) {
			if !onMachine() {
				t.Parallel()
			}
			run(t, newBox(t), open)
		})
	}
}

// writeProgram writes one that is run at once. What is still open in a child of another
// test's, which is about to become another program, cannot be (ETXTBSY).
func writeProgram(t testing.TB, path, script string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience bounds each wait. On a machine that is busy with other tests a member takes
// many times as long as it does alone, so that only what hangs comes near it.
const patience = 90 * time.Second

// eventually polls a condition that other processes bring about.
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

func facts(t testing.TB, h host.Host, b *box) host.Facts {
	t.Helper()
	f, err := h.Facts(context.WithoutCancel(t.Context()), testCluster, b.addr)
	must(t, err)
	return f
}

func wantGuard(t testing.TB, err error, kind host.GuardKind) {
	t.Helper()
	var g *host.GuardError
	if !errors.As(err, &g) || g.Kind != kind {
		t.Fatalf("got %v (%T), want a guard's refusal %s", err, err, kind)
	}
}

func wantInvalid(t testing.TB, err error) {
	t.Helper()
	var i *host.InvalidError
	if !errors.As(err, &i) {
		t.Fatalf("got %v (%T), want an invalid request", err, err)
	}
	if len(i.Reason) > 2000 {
		t.Fatalf("the reason has %d bytes", len(i.Reason))
	}
}
