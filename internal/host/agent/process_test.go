package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

// Nothing of the daemon is handed down: not its variables, not its files, not
// its session.
func TestMemberInheritsNothing(t *testing.T) {
	processOnly(t, "a process of systemd has systemd's variables")
	t.Setenv("ETCD_NAME", "evil")
	t.Setenv("ETCD_UNSAFE_NO_FSYNC", "true")
	b := newBox(t)
	leak := filepath.Join(b.root, "leak")
	fd, err := unix.Open(leak, unix.O_CREAT|unix.O_RDWR, 0o600) // not close-on-exec
	must(t, err)
	defer unix.Close(fd)
	h, u := inProcess(t, b), b.founder()
	u.ExtraEnv = map[string]string{"GOGC": "90"}
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	pid := b.etcds(t)[0]
	proc := filepath.Join("/proc", strconv.Itoa(pid))

	environ, err := os.ReadFile(filepath.Join(proc, "environ"))
	must(t, err)
	if string(environ) != "GOGC=90\x00" {
		t.Errorf("environment: %q", environ)
	}
	if n := openFiles(t, leak); n != 1 {
		t.Errorf("%d processes have the file open", n)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d of process %d: %v", sid, pid, err)
	}
	for n, want := range map[string]string{"fd/0": "/dev/null", "fd/1": "stderr.log", "fd/2": "stderr.log", "cwd": "/"} {
		if to, err := os.Readlink(filepath.Join(proc, n)); err != nil || !strings.HasSuffix(to, want) {
			t.Errorf("%s is %s: %v", n, to, err)
		}
	}
	if log, err := os.ReadFile(filepath.Join(b.root, "var/lib/cke/host/etcd/prod/log/etcd.log")); err != nil || !strings.Contains(string(log), `"name":"cp1"`) {
		t.Errorf("log: %v %.100s", err, log)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"
	zombie := strings.Replace(rest, "S", "Z", 1)
	for name, c := range map[string]struct {
		in    string
		ended bool
		start uint64
		ok    bool
	}{
		"plain":                  {"17 (etcd)" + rest, false, 4242, true},
		"spaces":                 {"17 (a b) c)" + rest, false, 4242, true},
		"a lying name":           {"17 () Z 9 9 9)" + rest, false, 4242, true},
		"killed":                 {"17 (etcd)" + strings.Replace(zombie, " 17 ", " 1 ", 1), true, 4242, true},
		"killed, and let go":     {"17 (etcd)" + strings.Replace(zombie, " 17 ", " 0 ", 1), true, 4242, true},
		"killed, its threads go": {"17 (etcd)" + zombie, false, 4242, true},
		"too short":              {"17 (etcd) S 1 2", false, 0, false},
		"no name":                {"17 etcd S", false, 0, false},
		"threads not a number":   {"17 (etcd)" + strings.Replace(rest, " 17 ", " x ", 1), false, 0, false},
		"start not a time":       {"17 (etcd)" + strings.Replace(rest, "4242", "x", 1), false, 0, false},
	} {
		ended, start, err := parseStat(c.in)
		if (err == nil) != c.ok || c.ok && (ended != c.ended || start != c.start) {
			t.Errorf("%s: %v %d %v", name, ended, start, err)
		}
	}
}

// A zombie is not a running process, and another process with the same pid is
// not the one that was recorded.
func TestIdentity(t *testing.T) {
	t.Parallel()
	boot, err := bootID()
	must(t, err)
	cmd := exec.Command("/bin/sleep", "60")
	must(t, cmd.Start())
	p, alive, err := identify(cmd.Process.Pid, boot)
	if err != nil || !alive {
		t.Fatalf("alive %v: %v", alive, err)
	}
	if _, ok, err := (process{PID: p.PID, Start: p.Start - 1, Boot: boot}).open(); ok || err != nil {
		t.Errorf("an earlier process of the same pid is opened: %v", err)
	}
	h, ok, err := p.open()
	if err != nil || !ok {
		t.Fatalf("open: %v %v", ok, err)
	}
	must(t, h.signal(unix.SIGKILL))
	must(t, h.wait(t.Context()))
	if _, alive, err := identify(p.PID, boot); alive || err != nil { // not yet waited for
		t.Errorf("a zombie is alive: %v", err)
	}
	_ = cmd.Wait() // it says that it was killed
	must(t, h.signal(unix.SIGKILL))
	must(t, h.close())
	if _, ok, err := p.open(); ok || err != nil {
		t.Errorf("opened after its end: %v %v", ok, err)
	}
}

// A record of before a reboot names nobody, even if the pid lives again.
func TestRecordOfAnotherBoot(t *testing.T) {
	processOnly(t, "systemd knows its processes")
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	u := sealed(t, b, h)
	me, alive, err := identify(os.Getpid(), "another boot")
	if err != nil || !alive {
		t.Fatal(err)
	}
	r := newProcesses(b.agent().layout, b.agent().log, func(string) {})
	must(t, writeJSON(r.recordPath(u.Cluster), procRecord{process: me, Unit: u}))
	if f := facts(t, h, b); f.Unit.Running || f.Unit.Exit != "the machine was restarted" {
		t.Fatalf("%+v", f.Unit)
	}
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
}

func TestOutputIsKeptOnce(t *testing.T) {
	processOnly(t, "the journal bounds itself")
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	dir := filepath.Join(b.root, "var/lib/cke/host/etcd/prod/log")
	b.install(t, h, u)
	for i := range 3 {
		u.ExtraArgs = map[string]string{"heartbeat-interval": "bad-" + strconv.Itoa(i)}
		must(t, h.InstallUnit(t.Context(), u))
		if err := h.StartUnit(t.Context(), u.Cluster, u.Member); err == nil {
			t.Fatal("started")
		}
	}
	for file, flag := range map[string]string{"stderr.log": "bad-2", "stderr.log.1": "bad-1"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), flag) {
			t.Errorf("%s: %v %.100s", file, err, text)
		}
	}
	if left, err := names(dir); err != nil || len(left) > 3 {
		t.Errorf("%v %v", left, err)
	}
	if f := facts(t, h, b); !strings.Contains(f.Unit.Log, "bad-2") || strings.Contains(f.Unit.Log, "bad-1") {
		t.Errorf("the log of the last process: %.200s", f.Unit.Log)
	}
}

func TestTailFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(path, []byte("one\ntwo\nthree\n"+strings.Repeat("x", tailBytes-6)+"\nend\n"), 0o600))
	for from, want := range map[int64]int{0: tailBytes - 1, 1 << 30: tailBytes - 1, int64(14 + tailBytes - 5): 4} {
		got, err := tailFile(path, from)
		if err != nil || len(got) != want && !strings.HasSuffix(got, "end\n") {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
		if len(got) > tailBytes {
			t.Errorf("from %d: %d bytes", from, len(got))
		}
	}
	if got, err := tailFile(path, int64(14+tailBytes-5)); err != nil || got != "end\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Many waits at once, all woken by one exit.
func TestManyWaits(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	ended := make(chan error)
	for range 20 {
		go func() { ended <- h.WaitUnit(t.Context(), u.Cluster, true) }()
	}
	must(t, syscall.Kill(b.etcds(t)[0], syscall.SIGKILL))
	for range 20 {
		must(t, <-ended)
	}
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
}
