//go:build machine

package agent

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

const testService = "etcd-" + testCluster + ".service"

// show is a property of the unit as systemctl has it.
func show(t testing.TB, property string) string {
	t.Helper()
	return systemctl(t, "show", "--value", "--property="+property, testService)
}

// started brings a member to where it runs and is sealed.
func started(t *testing.T) (*box, host.Host, cluster.Unit) {
	t.Helper()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	return b, h, u
}

// systemd brings a member back by itself, each time, without a limit.
func TestKilledMemberComesBackWithoutCKE(t *testing.T) {
	b, h, u := started(t)
	for range 3 {
		pid := show(t, "MainPID")
		must(t, syscall.Kill(atoi(t, pid), syscall.SIGKILL))
		eventually(t, "another process", func() bool { now := show(t, "MainPID"); return now != "0" && now != pid })
	}
	// What runs is known although nobody of CKE's started it.
	f := facts(t, h, b)
	u.Founding = nil
	if !f.Unit.Running || f.Unit.Started == nil || !f.Unit.Started.Equal(u) || f.Unit.Overridden != "" {
		t.Fatalf("%+v", f.Unit)
	}
	if n := atoi(t, show(t, "NRestarts")); n != 3 {
		t.Errorf("%d restarts", n)
	}
}

// Before it is sealed nothing starts a member by itself; afterwards boot does.
func TestOnlyASealedMemberStartsAtBoot(t *testing.T) {
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	u.ExtraArgs = map[string]string{"heartbeat-interval": "0"}
	b.install(t, h, u)
	if err := h.StartUnit(t.Context(), u.Cluster, u.Member); err == nil {
		t.Fatal("it starts")
	}
	if got := show(t, "UnitFileState") + " " + show(t, "Restart") + " " + show(t, "ActiveState"); got != "static no failed" {
		t.Errorf("unsealed: %s", got)
	}
	u.ExtraArgs = nil
	must(t, h.InstallUnit(t.Context(), u))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if got := show(t, "UnitFileState") + " " + show(t, "Restart"); got != "enabled always" {
		t.Errorf("sealed: %s", got)
	}
	if text, err := os.ReadFile("/etc/systemd/system/" + testService); err != nil || strings.Contains(string(text), "--initial-cluster=") {
		t.Errorf("the lasting unit has a founding: %v\n%s", err, text)
	}
	if out, err := exec.Command("systemd-analyze", "verify", testService).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v %s", err, out)
	}
	// A member that is not ready holds the machine's boot up for nobody.
	if after := systemctl(t, "show", "--value", "--property=After", bootTarget); strings.Contains(after, testService) {
		t.Errorf("%s waits for the member", bootTarget)
	}
	// A changed unit is for the next start: the process stays.
	pid := show(t, "MainPID")
	u.Founding, u.ExtraArgs = nil, map[string]string{"heartbeat-interval": "200"}
	must(t, h.InstallUnit(t.Context(), u))
	f := facts(t, h, b)
	if show(t, "MainPID") != pid || show(t, "NeedDaemonReload") != "no" || f.Unit.Started.Equal(u) || !f.Unit.Unit.Equal(u) {
		t.Errorf("changed: %+v", f.Unit)
	}
}

// A member without quorum is never ready, and is neither killed nor given up.
func TestMemberWithoutQuorumStaysActivating(t *testing.T) {
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	u.Founding.Peers["cp2"] = cluster.URL(b.addr.Next(), cluster.PeerPort)
	u.Founding.Peers["cp3"] = cluster.URL(b.addr.Next().Next(), cluster.PeerPort)
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if f := facts(t, h, b); !f.Unit.Running || !f.Unit.Sealed || f.Unit.Started == nil {
		t.Fatalf("%+v", f.Unit)
	}
	if got := show(t, "ActiveState") + " " + show(t, "TimeoutStartUSec"); got != "activating infinity" {
		t.Errorf("it is %s", got)
	}
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	if f := facts(t, h, b); f.Unit.Running {
		t.Fatalf("%+v", f.Unit)
	}
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if got := show(t, "ActiveState"); got != "activating" {
		t.Errorf("started again it is %s", got)
	}
}

// The guard holds with CKE down: systemd starts nothing without the member's data.
func TestSystemdStartsNothingWithoutData(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, data string){
		"wiped":   func(t *testing.T, data string) { must(t, os.RemoveAll(data)) },
		"empty":   func(t *testing.T, data string) { must(t, os.RemoveAll(data)); must(t, os.Mkdir(data, 0o700)) },
		"no WAL":  func(t *testing.T, data string) { must(t, os.RemoveAll(filepath.Join(data, "member/wal"))) },
		"no mark": func(t *testing.T, data string) { must(t, os.Remove(filepath.Join(data, markName))) },
	} {
		t.Run(name, func(t *testing.T) {
			b, h, u := started(t)
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			lose(t, b.dataDir(u))
			if out, err := exec.Command("systemctl", "start", testService).CombinedOutput(); err == nil || !strings.Contains(string(out), "Assertion failed") {
				t.Fatalf("systemctl start: %v %s", err, out)
			}
			f := facts(t, h, b)
			if f.Unit.Running || !f.Unit.DataLost || !strings.HasPrefix(f.Unit.Exit, "systemd does not start it: AssertPathExists=/var/lib/cke/etcd/") {
				t.Fatalf("%+v", f.Unit)
			}
			wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.DataLost)
			must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
			if got := show(t, "LoadState"); got != "not-found" {
				t.Errorf("retired, the unit is %s", got)
			}
		})
	}
}

// A data disk that is not there is not an empty one.
func TestDataDiskNotMounted(t *testing.T) {
	const root = "/var/lib/cke/etcd"
	b := newBox(t)
	mount := func() {
		must(t, os.MkdirAll(root, 0o755))
		must(t, syscall.Mount("disk", root, "tmpfs", 0, "mode=0755"))
	}
	mount()
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) }) // it may not be mounted
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	must(t, syscall.Unmount(root, 0))
	if err := exec.Command("systemctl", "start", testService).Run(); err == nil {
		t.Fatal("systemd starts it on the empty mount point")
	}
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.NotMounted)
	if f := facts(t, h, b); f.Unit.NotMounted != root || f.Unit.DataLost || f.Unit.Running {
		t.Fatalf("absent: %+v", f.Unit)
	}
	mount() // a new and empty one
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.DataLost)
	if f := facts(t, h, b); f.Unit.NotMounted != "" || !f.Unit.DataLost {
		t.Fatalf("new: %+v", f.Unit)
	}
}

// A member's user owns its data and its keys, and can write nowhere else.
func TestFilesAreWhoseTheyShouldBe(t *testing.T) {
	b, h, u := started(t)
	o, err := (&account{memory: "/var/lib/cke/host/account.json"}).get(t.Context())
	must(t, err)
	for path, want := range map[string]struct {
		uid, gid int
		mode     fs.FileMode
	}{
		"/etc/cke/etcd/prod":                       {0, o.gid, 0o710},
		"/etc/cke/etcd/prod/pki":                   {0, o.gid, 0o710},
		"/etc/cke/etcd/prod/pki/server.key":        {o.uid, o.gid, 0o600},
		"/etc/cke/etcd/prod/pki/peer.key":          {o.uid, o.gid, 0o600},
		"/etc/cke/etcd/prod/pki/server.crt":        {0, 0, 0o644},
		"/etc/cke/etcd/prod/pki/client.crl":        {0, 0, 0o644},
		"/etc/cke/etcd/prod/unit.json":             {0, 0, 0o600},
		"/var/lib/cke/etcd/prod":                   {0, o.gid, 0o710},
		b.dataDir(u):                               {o.uid, o.gid, 0o700},
		filepath.Join(b.dataDir(u), markName):      {0, 0, 0o600},
		"/var/lib/cke/host":                        {0, 0, 0o700},
		"/var/lib/cke/host/fence.json":             {0, 0, 0o600},
		b.agent().layout.seal(u.Cluster, u.Member): {0, 0, 0o600},
		"/etc/systemd/system/" + testService:       {0, 0, 0o644},
	} {
		info, err := os.Lstat(path)
		must(t, err)
		uid, gid, err := ownerOf(path)
		must(t, err)
		if uid != want.uid || gid != want.gid || info.Mode().Perm() != want.mode {
			t.Errorf("%s: %d:%d %v, want %d:%d %v", path, uid, gid, info.Mode(), want.uid, want.gid, want.mode)
		}
	}
	// Taken over, the user's own directory does not lead root anywhere else.
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	mark := filepath.Join(b.dataDir(u), markName)
	secret := "/root/secret"
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	t.Cleanup(func() { must(t, os.Remove(secret)) })
	for what, put := range map[string]func() error{
		"link": func() error { return os.Symlink(secret, mark) },
		"pipe": func() error { return syscall.Mkfifo(mark, 0o600) },
		"dir":  func() error { return os.Mkdir(mark, 0o700) },
	} {
		must(t, os.RemoveAll(mark))
		must(t, put())
		if f := facts(t, h, b); !f.Unit.DataLost {
			t.Errorf("a %s passes as the mark", what)
		}
	}
	must(t, os.RemoveAll(mark))
	must(t, os.Symlink(secret, mark))
	must(t, b.agent().finishSeal(t.Context(), u, seal{Cluster: u.Cluster, Member: u.Member}))
	if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
		t.Errorf("the mark was written through a link: %q %v", text, err)
	}
	must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
}

func TestHandsOnTheUnitAreTold(t *testing.T) {
	b, h, u := started(t)
	dir := "/etc/systemd/system/" + testService + ".d"
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(dir+"/nice.conf", []byte("[Service]\nNice=5\n"), 0o644))
	systemctl(t, "daemon-reload")
	systemctl(t, "disable", testService)
	f := facts(t, h, b)
	if !f.Unit.Running || !strings.Contains(f.Unit.Overridden, "nice.conf") || !strings.Contains(f.Unit.Overridden, "disabled") {
		t.Fatalf("%+v", f.Unit)
	}
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	path := "/etc/systemd/system/" + testService
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.Remove(path))
	must(t, os.Symlink("/dev/null", path))
	systemctl(t, "daemon-reload")
	if f = facts(t, h, b); !strings.Contains(f.Unit.Overridden, "masked") {
		t.Fatalf("%+v", f.Unit)
	}
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.Overridden)
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, text, 0o644))
	must(t, os.RemoveAll(dir))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if f = facts(t, h, b); f.Unit.Overridden != "" || !f.Unit.Running {
		t.Fatalf("undone: %+v", f.Unit)
	}
}

func TestNothingIsInstalledBesideAnotherEtcd(t *testing.T) {
	unit := func(name, extra string) func(t *testing.T) {
		return func(t *testing.T) {
			path := "/etc/systemd/system/" + name
			must(t, os.WriteFile(path, []byte("[Service]\nExecStart=/bin/sleep 600\n"+extra), 0o644))
			systemctl(t, "daemon-reload")
		}
	}
	mkdir := func(dir string) func(t *testing.T) {
		return func(t *testing.T) { must(t, os.MkdirAll(dir, 0o700)) }
	}
	for name, c := range map[string]struct {
		put  func(t *testing.T)
		says string
	}{
		"active": {func(t *testing.T) { unit("etcd.service", "")(t); systemctl(t, "start", "etcd.service") }, "unit etcd.service, which is not CKE's, is active"},
		"enabled": {func(t *testing.T) {
			unit("etcd2.service", "[Install]\nWantedBy=multi-user.target\n")(t)
			systemctl(t, "enable", "etcd2.service")
		}, "unit etcd2.service, which is not CKE's, is enabled"},
		"its name": {func(t *testing.T) { unit(testService, "")(t); systemctl(t, "start", testService) }, "unit " + testService + ", which is not CKE's, is active"},
		"data":     {mkdir("/var/lib/etcd/member/wal"), "/var/lib/etcd holds the data"},
		"kubeadm":  {mkdir("/etc/kubernetes/manifests/etcd.yaml"), "makes the kubelet run an etcd"},
		"process": {func(t *testing.T) {
			cmd := exec.Command(etcdBinary(t), "--data-dir=/tmp/foreign", "--listen-client-urls=http://127.9.9.9:1", "--advertise-client-urls=http://127.9.9.9:1", "--listen-peer-urls=http://127.9.9.9:2")
			must(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = os.RemoveAll("/tmp/foreign") })
		}, "is an etcd that is not CKE's"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			h, u := inProcess(t, b), b.founder()
			if f := facts(t, h, b); len(f.Foreign) > 0 {
				t.Fatalf("a bare machine: %v", f.Foreign)
			}
			c.put(t)
			if f := facts(t, h, b); !strings.Contains(strings.Join(f.Foreign, "\n"), c.says) {
				t.Errorf("facts: %q", f.Foreign)
			}
			err := h.InstallUnit(t.Context(), u)
			wantGuard(t, err, host.ForeignEtcd)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Also while systemd executes itself anew, which breaks every connection to it.
func TestSystemdIsReachedAgain(t *testing.T) {
	b, h, u := started(t)
	for range 3 {
		systemctl(t, "daemon-reexec")
		if f := facts(t, h, b); !f.Unit.Running || f.Unit.Started == nil {
			t.Fatalf("%+v", f.Unit)
		}
	}
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
}

func TestJournalIsFollowed(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		ctx, cancel := context.WithCancel(t.Context())
		text, err := h.Log(ctx, host.LogRequest{Cluster: u.Cluster, Lines: 0, Follow: true})
		must(t, err)
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
		lines := bufio.NewScanner(text)
		for lines.Scan() && !strings.Contains(lines.Text(), `"name":"cp1"`) {
		}
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
		cancel()
		for lines.Scan() {
		}
		eventually(t, "journalctl ends", func() bool { return exec.Command("pidof", "journalctl").Run() != nil })
	})
}

// Facts are asked for often.
func TestFactsAreCheap(t *testing.T) {
	b, h, u := started(t)
	measure := func(what string, most time.Duration) {
		_ = facts(t, h, b)
		var each []time.Duration
		for range 51 {
			begun := time.Now()
			_ = facts(t, h, b)
			each = append(each, time.Since(begun))
		}
		slices.Sort(each)
		took := each[len(each)/2] // the machine may stand still in the midst of one
		t.Logf("%s: %s", what, took)
		if took > most {
			t.Errorf("%s: facts take %s", what, took)
		}
	}
	measure("running", 100*time.Millisecond)
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	measure("stopped", 100*time.Millisecond)
	must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
	measure("bare", 100*time.Millisecond)
}

// Whatever an argument or a variable holds, systemd hands it on as it is.
func TestSystemdHandsValuesOn(t *testing.T) {
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	odd := `a b"c\d%n%%$HOME ${HOME} $$ ; 'é' #` + "\u00a0" + `\x41 end\`
	u.ExtraArgs = map[string]string{"distributed-tracing-service-name": odd, "max-learners": "2"}
	u.ExtraEnv = map[string]string{"GODEBUG": odd, "GOGC": "90"}
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	pid := atoi(t, show(t, "MainPID"))
	for file, want := range map[string]string{"cmdline": "--distributed-tracing-service-name=" + odd, "environ": "GODEBUG=" + odd} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
		must(t, err)
		if !strings.Contains("\x00"+string(text), "\x00"+want+"\x00") {
			t.Errorf("%s has not %q:\n%q", file, want, text)
		}
	}
}
