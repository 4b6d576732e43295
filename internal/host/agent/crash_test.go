package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

// crashPoint turns the test binary into a process that kills itself.
const crashPoint = "CKE_TEST_CRASH_POINT"

// crashJob is what the process does until it reaches its point. Without a point
// it is to fail; what it says is told.
type crashJob struct {
	Root, Releases string
	Runtime        Runtime
	Member         cluster.MemberID
	Retire, Purge  bool
	Release        *host.Release
	Packed         []byte
	Client         *host.PutClientFiles
	Gateway        *cluster.Gateway
	NoGateway      bool // remove it
	Helper         string
	Limit          int64 // of the size of any file, as on a full disk; 0 for none
}

// noPoint is for a process that is not to kill itself.
const noPoint = "none"

func (j crashJob) do(ctx context.Context, h host.Host) error {
	switch {
	case j.NoGateway:
		return h.RemoveGateway(ctx, testCluster)
	case j.Gateway != nil:
		return h.PutGateway(ctx, *j.Gateway)
	case j.Client != nil:
		return h.PutClientFiles(ctx, *j.Client)
	case j.Release != nil:
		return h.PutRelease(ctx, *j.Release, 0, bytes.NewReader(j.Packed))
	case j.Purge:
		return h.Purge(ctx)
	case j.Retire:
		return h.RetireUnit(ctx, testCluster, j.Member)
	}
	return h.StartUnit(ctx, testCluster, j.Member)
}

// crashHelper is the process: an agent that ends, as by kill -9, at a point.
func crashHelper(point string) {
	var job crashJob
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if job.Limit > 0 {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(job.Limit), Max: uint64(job.Limit)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	a := New(Options{Root: job.Root, Releases: job.Releases, Runtime: job.Runtime})
	a.gatewaysRun(job.Helper)
	a.reached = func(p string) {
		fmt.Println(p)
		if p == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	h := host.Local(a.Handler(), func() host.Identity { return host.Identity{StoreID: "store-a", Epoch: 1} })
	if err := job.do(context.Background(), h); err != nil {
		answer, _ := json.Marshal(host.NewFailure(err))
		fmt.Fprintf(os.Stderr, "%s\n", answer)
		os.Exit(3)
	}
	os.Exit(0)
}

// crash runs a job in a process of its own that dies at the point, or fails if
// there is none, and returns what it said.
func crash(t *testing.T, b *box, job crashJob, point string) string {
	t.Helper()
	job.Root, job.Releases, job.Runtime, job.Helper = b.root, b.releases, runtimeKind(), helperProgram
	in, err := json.Marshal(job)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashPoint+"="+cmp.Or(point, noPoint))
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the process neither dies nor fails: %v\n%s", err, out)
	}
	if point == "" && exit.ExitCode() != 3 || point != "" && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process does not die at %q: %v\n%s", point, err, out)
	}
	return string(out)
}

func startPoints() []string {
	if onMachine() {
		return []string{
			"seal:begun", "service:written", "start:intent", "start:queued", "seal:wal", "seal:marked",
			"service:written", "service:kept", "seal:sealed",
		}
	}
	return []string{
		"seal:begun", "start:intent", "start:forked", "start:recorded", "seal:wal", "seal:marked", "seal:sealed",
	}
}

func retirePoints() []string { return []string{"retire:moved", "retire:removed"} }

func TestCrashPointsAreAllWalked(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var reached []string
	a := b.agent()
	a.reached = func(p string) { reached = append(reached, p) }
	h := host.Local(a.Handler(), b.identity)
	u := b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
	if want := append(startPoints(), retirePoints()...); !slices.Equal(reached, want) {
		t.Fatalf("reached %q, the crash tests walk %q", reached, want)
	}
}

func TestStartIsFinishedAfterACrash(t *testing.T) {
	for _, point := range slices.Compact(slices.Sorted(slices.Values(startPoints()))) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			h := inProcess(t, b)
			u := b.founder()
			b.install(t, h, u)
			crash(t, b, crashJob{Member: u.Member}, point)

			must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
			if pids := b.etcds(t); len(pids) != 1 {
				t.Fatalf("%d etcds run: %v", len(pids), pids)
			}
			f := facts(t, h, b)
			if !f.Unit.Sealed || !f.Unit.Running || f.Unit.DataLost || len(f.BusyPorts) > 0 {
				t.Fatalf("after the second start: %+v, busy %v", f.Unit, f.BusyPorts)
			}
			if d := f.Data; len(d) != 1 || !d[0].WAL || !d[0].Mark || d[0].Bytes == 0 {
				t.Fatalf("data: %+v", d)
			}
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			if pids := b.etcds(t); len(pids) != 0 {
				t.Fatalf("after the stop: %v", pids)
			}
		})
	}
}

// A unit loses its founding once the cluster knows its member; the seal may
// not have been written by then.
func TestStartIsFinishedWithoutFounding(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	u := b.founder()
	b.install(t, h, u)
	crash(t, b, crashJob{Member: u.Member}, "seal:wal")
	u.Founding = nil
	must(t, h.InstallUnit(t.Context(), u))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if f := facts(t, h, b); !f.Unit.Sealed || !f.Unit.Running {
		t.Fatalf("%+v", f.Unit)
	}
}

// A process that was forked and never recorded is found, stopped and counted.
func TestUnrecordedProcessIsFound(t *testing.T) {
	processOnly(t, "systemd knows its processes")
	for name, check := range map[string]func(t *testing.T, b *box, h host.Host, u cluster.Unit){
		"facts": func(t *testing.T, b *box, h host.Host, u cluster.Unit) {
			if f := facts(t, h, b); !f.Unit.Running || f.Unit.Started == nil || !f.Unit.Started.Equal(u) {
				t.Fatalf("%+v", f.Unit)
			}
		},
		"stop": func(t *testing.T, b *box, h host.Host, u cluster.Unit) {
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			if pids := b.etcds(t); len(pids) != 0 {
				t.Fatalf("still runs: %v", pids)
			}
		},
		"retire": func(t *testing.T, b *box, h host.Host, u cluster.Unit) {
			wantGuard(t, h.RetireUnit(t.Context(), u.Cluster, u.Member), host.StillRunning)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			h := inProcess(t, b)
			u := b.founder()
			b.install(t, h, u)
			crash(t, b, crashJob{Member: u.Member}, "start:forked")
			eventually(t, "etcd runs", func() bool { return len(b.etcds(t)) == 1 })
			check(t, b, h, u)
		})
	}
}

func TestRetireIsFinishedAfterACrash(t *testing.T) {
	for _, point := range retirePoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			h := inProcess(t, b)
			u := b.founder()
			b.install(t, h, u)
			must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			crash(t, b, crashJob{Member: u.Member, Retire: true}, point)

			// In between nothing can be started, although the unit says how.
			var g *host.GuardError
			if err := h.StartUnit(t.Context(), u.Cluster, u.Member); !errors.As(err, &g) {
				t.Fatalf("start between: %v", err)
			}
			must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
			f := facts(t, h, b)
			if f.Unit != nil || len(f.Data) != 0 || len(f.Aside) != 1 {
				t.Fatalf("%+v", f)
			}
			must(t, h.Clean(t.Context(), u.Cluster))
		})
	}
}
