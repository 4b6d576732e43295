package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cke/internal/cluster"
)

// TestRuntimeConformance in test/lab/hosts runs these tests on a machine. By
// hand: on a machine of its own, as root, with nothing on it that should stay:
//
//	CGO_ENABLED=0 go test -c -tags machine -o agent.test ./internal/host/agent
//	# agent.test, testdata/, cke-host and etcd go to the machine; in testdata's parent:
//	CKE_TEST_MACHINE=systemd CKE_TEST_HELPER=/opt/test/cke-host CKE_ETCD_BIN=/opt/test/etcd \
//	    agent.test -test.parallel=1
//
// etcd must lie on the file system of /opt. What needs several machines, or a
// root of its own, skips and says so.

// bareMachine takes everything of CKE's off the machine.
func bareMachine(t testing.TB) {
	t.Helper()
	units, err := filepath.Glob("/etc/systemd/system/etcd*.service")
	must(t, err)
	if _, err := os.Lstat("/etc/systemd/system/" + gatewayService); err == nil {
		units = append(units, "/etc/systemd/system/"+gatewayService)
	}
	for _, path := range units {
		name := filepath.Base(path)
		// Errors: it may be none that systemd knows.
		_ = exec.Command("systemctl", "kill", "--signal=KILL", name).Run()
		_ = exec.Command("systemctl", "stop", name).Run()
		_ = exec.Command("systemctl", "disable", name).Run()
		must(t, os.Remove(path))
	}
	changes, err := filepath.Glob("/etc/systemd/system/etcd*.service.d")
	must(t, err)
	for _, dir := range changes {
		must(t, os.RemoveAll(dir))
	}
	if len(units)+len(changes) > 0 {
		systemctl(t, "daemon-reload")
		systemctl(t, "reset-failed")
	}
	eventually(t, "no etcd runs", func() bool {
		all, err := filepath.Glob("/proc/[0-9]*/comm")
		must(t, err)
		none := true
		for _, path := range all {
			dir := filepath.Dir(path)
			if line, err := os.ReadFile(dir + "/cmdline"); err != nil || len(line) == 0 {
				continue // it has ended
			}
			if comm, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(comm)) == "etcd" {
				none = false
				pid := atoi(t, filepath.Base(dir))
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
			}
		}
		return none
	})
	for _, dir := range append(ownDirs(), "/var/lib/etcd", "/etc/kubernetes") {
		must(t, os.RemoveAll(dir))
	}
}

// ownDirs are where CKE puts something on a machine, besides units.
func ownDirs() []string { return []string{"/etc/cke", "/var/lib/cke", "/opt/cke"} }

// staysDown has systemd not start an ended member again, if it has systemd.
func (b *box) staysDown(t testing.TB, u cluster.Unit) {
	t.Helper()
	if !onMachine() {
		return
	}
	dir := "/etc/systemd/system/" + serviceName(u.Cluster) + ".d"
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(dir+"/once.conf", []byte("[Service]\nRestart=no\n"), 0o644))
	systemctl(t, "daemon-reload")
}

// deafEtcd puts a program that says it is ready, does nothing, and does not end
// when asked to, in etcd's place.
func (b *box) deafEtcd(t testing.TB) {
	t.Helper()
	path := filepath.Join(b.releases, "v"+testVersion, "etcd")
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, []byte(`#!/usr/bin/perl
use Socket;
if ("@ARGV" eq "--version") { print "etcd Version: `+testVersion+`\n"; exit }
$SIG{TERM} = "IGNORE";
socket(S, AF_UNIX, SOCK_DGRAM, 0) and send(S, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!;
sleep 60;
`), 0o755))
}

func systemctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}
