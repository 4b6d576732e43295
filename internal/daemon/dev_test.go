package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/host/agent"
	"cke/internal/units"
)

// Variables that make this test program another one.
const (
	asDaemon = "CKE_TEST_DAEMON" // cke itself, as `cke dev up` starts it
	asHolder = "CKE_TEST_HOLDER" // a daemon that never comes to answer
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asDaemon) != "" && len(os.Args) > 1 && os.Args[1] == "dev":
		os.Exit(Main(os.Args[1:], "test", os.Stdout, os.Stderr))
	case os.Getenv(asHolder) != "":
		if err := holdLock(os.Getenv(asHolder)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := os.Setenv(asDaemon, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// holdLock holds a data directory as a daemon does that is busy opening it, and
// takes its time to end.
func holdLock(dir string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return err
	}
	fmt.Println("locked")
	<-stop
	<-time.After(300 * time.Millisecond) // a daemon ends when it has closed its store
	return errors.Join(os.WriteFile(filepath.Join(dir, "ended"), nil, 0o600), f.Close())
}

// box is one directory of cke dev with addresses of its own.
type box struct {
	*testing.T
	dir   string
	first netip.Addr
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t, filepath.Join(t.TempDir(), "cke"), netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(255)), byte(1 + rand.IntN(200))})}
	t.Cleanup(func() { b.dev(exitDone, "forget") })
	return b
}

// dev runs `cke dev` with these arguments and returns what it printed.
func (b *box) dev(code int, args ...string) string {
	b.Helper()
	bin, err := filepath.Abs("../../bin")
	b.must(err)
	var out bytes.Buffer
	args = append([]string{"dev", "--dir", b.dir, "--nodes", "1", "--first-address", b.first.String(), "--binaries", bin}, args...)
	if got := Main(args, "test", &out, &out); got != code {
		b.Fatalf("%v: exit %d, want %d\n%s", args, got, code, out.String())
	}
	return out.String()
}

func (b *box) client() *api.Client {
	b.Helper()
	c, err := api.NewClient("unix://"+filepath.Join(b.dir, "cke.sock"), api.ClientTLS{})
	b.must(err)
	return c
}

func (b *box) running() []int {
	b.Helper()
	pids, err := agent.ProcessesBelow(b.dir)
	b.must(err)
	return pids
}

func (b *box) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *box) says(text string, want ...string) {
	b.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			b.Errorf("%q does not say %q", text, w)
		}
	}
}

// TestHelpIsGivenWhereverItIsAskedFor: who asks after a verb starts and ends nothing.
func TestHelpIsGivenWhereverItIsAskedFor(t *testing.T) {
	for _, args := range [][]string{{"dev", "-h"}, {"dev", "up", "--help"}, {"dev", "down", "-h"}, {"dev", "forget", "-help"}} {
		var out, errs bytes.Buffer
		if code := Main(args, "test", &out, &errs); code != exitDone || out.String() != devUsage || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, %s%s", args, code, &out, &errs)
		}
	}
}

func TestRestoreStateIsPassedOn(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.dev(exitDone, "up")
	file := filepath.Join(t.TempDir(), "state")
	var state bytes.Buffer
	b.must(b.client().StateBackup(t.Context(), &state))
	b.must(os.WriteFile(file, state.Bytes(), 0o600))
	before, err := b.client().Status(t.Context(), "main")
	b.must(err)

	b.says(b.dev(exitUsage, "--restore-state", file, "up"), "--restore-state: cke runs already", b.dir)
	for _, verb := range []string{"down", "forget"} {
		b.says(b.dev(exitUsage, "--restore-state", file, verb), "--restore-state", strconv.Quote(verb))
	}
	if len(b.running()) != 1 {
		t.Fatalf("refused, and still: %v run", b.running())
	}
	b.dev(exitDone, "down")
	// Where there is state already the daemon refuses, and up says so.
	b.says(b.dev(exitFailed, "--restore-state", file, "up"), "cke ended at once", "state")

	b.must(os.Rename(filepath.Join(b.dir, "state"), filepath.Join(b.dir, "old")))
	b.says(b.dev(exitFailed, "--restore-state", file+"-none", "up"), "cke ended at once", file+"-none")
	b.dev(exitDone, "--restore-state", file, "up")
	after, err := b.client().Status(t.Context(), "main")
	b.must(err)
	if after.ClusterID != before.ClusterID || after.ClusterID == 0 {
		t.Errorf("the cluster is %s, it was %s", after.ClusterID, before.ClusterID)
	}
}

func TestDownStopsTheMembersOfAllClusters(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.dev(exitDone, "up")
	spec := cluster.Spec{Name: "second", Etcd: cluster.Etcd{Quota: units.Size(1 << 30)}, Nodes: []cluster.Node{
		{Address: b.first.Next(), Hostname: "other", ControlPlane: true},
	}}.WithDefaults()
	yaml, err := config.MarshalCluster(spec)
	b.must(err)
	_, err = b.client().PutSpec(t.Context(), "second.yml", yaml)
	b.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	healthy := errors.New("healthy")
	if err := b.client().WatchStatus(ctx, "second", func(s api.Status) error {
		if s.Healthy {
			return healthy
		}
		return nil
	}); !errors.Is(err, healthy) {
		t.Fatal(err)
	}
	if got := b.running(); len(got) != 2 {
		t.Fatalf("%v run, want two members", got)
	}
	b.says(b.dev(exitDone, "down"), "cke stopped", "member on cp1 stopped\n", "member on other stopped (cluster second)\n")
	if got := b.running(); len(got) != 0 {
		t.Errorf("after down run %v", got)
	}
}

// A daemon that still opens its store answers nobody, and would start the
// members again behind down's back.
func TestDownStopsADaemonThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	state := filepath.Join(b.dir, "state")
	b.must(os.MkdirAll(state, 0o700))
	b.must(os.WriteFile(filepath.Join(b.dir, "seal.key"), nil, 0o600))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asHolder+"="+state)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	defer func() { _ = cmd.Process.Kill() }() // it has ended, unless the test fails
	ended := make(chan error, 1)
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- cmd.Wait() }()

	b.says(b.dev(exitUsage, "--restore-state", "file", "up"), fmt.Sprintf("pid %d", cmd.Process.Pid))
	b.says(b.dev(exitDone, "down"), fmt.Sprintf("cke stopped (pid %d)", cmd.Process.Pid))
	if _, err := os.Stat(filepath.Join(state, "ended")); err != nil {
		t.Errorf("down does not wait for the daemon's end: %v", err)
	}
	b.must(<-ended)
	b.says(b.dev(exitDone, "down"), "cke does not run")
}

func TestForgetDeletesNothingUnderARunningMember(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	stray := filepath.Join(b.dir, "nodes/cp9/var/lib/cke/etcd/main/7")
	b.must(os.MkdirAll(stray, 0o700))
	b.must(os.WriteFile(filepath.Join(b.dir, "seal.key"), nil, 0o600))
	client, peer := "http://"+b.first.String()+":2379", "http://"+b.first.String()+":2380"
	cmd := exec.Command("../../bin/etcd", "--data-dir="+stray, "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--log-level=error")
	b.must(cmd.Start())
	defer func() { _ = cmd.Process.Kill() }() // it may have ended
	for _, verb := range []string{"down", "forget"} {
		b.says(b.dev(exitFailed, verb), "etcd runs below "+b.dir, strconv.Itoa(cmd.Process.Pid))
	}
	if _, err := os.Stat(stray); err != nil {
		t.Fatal(err)
	}
	b.must(cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	b.says(b.dev(exitDone, "forget"), b.dir+" removed")
}
