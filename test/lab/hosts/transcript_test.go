package hosts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFromBareMachines: three machines nobody has touched, a cluster.yml without
// host keys, and what a new operator types from there on: the keys are trusted
// by the commands that the plan itself gives, `cluster set --wait` shows its
// live plan on a terminal, and everything the guide promises works.
func TestFromBareMachines(t *testing.T) {
	e := newEnv(t, 3)
	e.Start()
	file := e.Write("cluster.yml", withoutHostKeys(e.yaml(1, 2, 3)))

	r := e.Run("ckecli", "cluster", "set", file, "--wait")
	if r.Code != 3 {
		t.Fatalf("cluster set --wait with unknown host keys: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	trust := regexp.MustCompile(`ckecli (node trust \S+ --fingerprint \S+)`).FindAllStringSubmatch(r.Stderr, -1)
	if len(trust) != 3 {
		t.Fatalf("want three commands that trust a key in\n%s", r.Stderr)
	}
	for i, command := range trust {
		if !strings.Contains(r.Stderr, e.hostKey(i+1)) {
			t.Errorf("the fingerprint of h%d is missing in\n%s", i+1, r.Stderr)
		}
		if i < 2 {
			e.CLI(strings.Fields(command[1])...)
		}
	}

	// With the last key all begins.
	screen := e.onTerminal(trust[2][0] + " && ckecli cluster set " + file + " --wait")
	e.Says("the terminal", screen, "next", "record-bootstrap", "install-etcd", "h1", "%", "MiB", "\x1b[", "is healthy: 3 of 3 voters serve")
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	e.typeTranscript()

	e.Says("status", e.CLI("status"), "is healthy: 3 of 3 voters serve, 1 more may fail")
	e.Says("node list", e.CLI("node", "list"), "h1", "10.77.0.11", "root@", "ok")
	e.Says("node logs", e.CLI("node", "logs", "h1", "-n", "500"), "ready to serve client requests", `"cluster-id"`)
	e.followsLogs()
	e.Says("node check", e.CLI("node", "check"), "h1", "h2", "h3", "ok", "fsync", "clock")
	for _, i := range []int{1, 2, 3} {
		e.unitIsHardened(i)
		e.filesAreOwned(i)
	}
}

func withoutHostKeys(yaml string) string {
	return regexp.MustCompile(`, host_key: "[^"]*"`).ReplaceAllString(yaml, "")
}

// onTerminal runs a line of shell on a terminal of its own and returns all that
// was drawn on it.
func (e *env) onTerminal(line string) string {
	e.t.Helper()
	cmd := exec.Command("script", "-qec", "stty cols 100 rows 40; "+line, "/dev/null")
	cmd.Dir, cmd.Env = e.Dir, append(e.Environ(), "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// typeTranscript types what the guide tells a new user to type.
func (e *env) typeTranscript() {
	e.t.Helper()
	work := filepath.Join(e.Dir, "work")
	if err := os.MkdirAll(filepath.Join(work, "tmp"), 0o700); err != nil {
		e.t.Fatal(err)
	}
	script := `
CERT=$(ckecli etcd root-issue)
echo "$CERT" | jq -r .ca_certificate > tmp/etcd-ca.crt
echo "$CERT" | jq -r .certificate > tmp/etcd-root.crt
echo "$CERT" | jq -r .private_key > tmp/etcd-root.key
export ETCDCTL_CACERT=tmp/etcd-ca.crt ETCDCTL_CERT=tmp/etcd-root.crt ETCDCTL_KEY=tmp/etcd-root.key
etcdctl --endpoints=10.77.0.11:2379 member list
ckecli etcd user-add app /app/
CERT=$(ckecli etcd issue -ttl=24h -output=json app)
echo "$CERT" | jq -r .ca_certificate > etcd-ca.crt; echo "$CERT" | jq -r .certificate > app.crt; echo "$CERT" | jq -r .private_key > app.key
unset ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY
etcdctl --endpoints=10.77.0.11:2379,10.77.0.12:2379,10.77.0.13:2379 --cacert etcd-ca.crt --cert app.crt --key app.key put /app/x written
etcdctl --endpoints=10.77.0.13:2379 --cacert etcd-ca.crt --cert app.crt --key app.key get /app/x
ckecli etcd local-backup --dir ./backups
etcdutl snapshot status ./backups/etcd-*.backup
`
	cmd := exec.Command("bash", "-c", "set -euo pipefail\n"+script)
	cmd.Dir, cmd.Env = work, e.Environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("the transcript: %v\n%s%s", err, &out, &errs)
	}
	e.Says("the transcript", out.String(), "10.77.0.11", "10.77.0.12", "10.77.0.13", "started", "/app/x\nwritten\n")
}

// followsLogs checks that node logs -f shows what is logged from now on, and
// that its end ends what runs on the machine.
func (e *env) followsLogs() {
	e.t.Helper()
	cmd := exec.Command(filepath.Join(e.Bin, "ckecli"), "node", "logs", "h2", "-f", "-n", "1")
	cmd.Dir, cmd.Env = e.Dir, e.Environ()
	var out safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	defer stop()
	e.Eventually("the last line is there", func() error { return out.has("etcd") })
	cl := e.Connect(e.RootCert(), e.addr(2))
	if _, err := cl.Defragment(e.ctx(), "https://"+e.addr(2)+":2379"); err != nil {
		e.t.Fatal(err)
	}
	e.Eventually("the defragmentation is in the log", func() error { return out.has("finished defragmenting") })
	if e.journalctls(2) == "0" {
		e.t.Error("nothing follows the journal on h2")
	}
	stop()
	e.Within(10*time.Second, "nothing follows the journal on h2 any more", func() error {
		if n := e.journalctls(2); n != "0" {
			return errFollows
		}
		return nil
	})
}

func (e *env) journalctls(i int) string { return e.sh(i, "pgrep -c journalctl || true") }

// unitIsHardened checks what systemd makes of the unit.
func (e *env) unitIsHardened(i int) {
	e.t.Helper()
	e.sh(i, "systemd-analyze verify /etc/systemd/system/etcd-main.service")
	show := e.sh(i, "systemctl show etcd-main.service -p Type,Restart,User,Group,NoNewPrivileges,ProtectSystem,CapabilityBoundingSet,UnitFileState,TimeoutStartUSec,StartLimitIntervalUSec,ActiveState,RequiresMountsFor")
	e.Says("the unit on "+string(e.name(i)), show, "Type=notify", "Restart=always", "User=etcd", "Group=etcd", "NoNewPrivileges=yes",
		"ProtectSystem=strict", "CapabilityBoundingSet=\n", "UnitFileState=enabled", "TimeoutStartUSec=infinity", "StartLimitIntervalUSec=0", "ActiveState=active", "/var/lib/cke/etcd/main/")
	if who := e.sh(i, "ps -o user= -p $(systemctl show -p MainPID --value etcd-main.service)"); who != "etcd" {
		e.t.Errorf("etcd on %s runs as %s", e.name(i), who)
	}
}

// filesAreOwned checks who may read what on a machine.
func (e *env) filesAreOwned(i int) {
	e.t.Helper()
	list := e.sh(i, "stat -c '%a %U %n' /etc/cke/etcd/main/pki/* /var/lib/cke/etcd/main/* /var/lib/cke/host")
	e.Says("files on "+string(e.name(i)), list,
		"600 etcd /etc/cke/etcd/main/pki/server.key", "600 etcd /etc/cke/etcd/main/pki/peer.key",
		"700 etcd /var/lib/cke/etcd/main/", "700 root /var/lib/cke/host")
	// No key is readable by anyone else, wherever CKE put one.
	if open := e.sh(i, `grep -rlIE 'PRIVATE KEY' /etc/cke /var/lib/cke /opt/cke 2>/dev/null | xargs -r stat -c '%a %n' | grep -v '^600 ' || true`); open != "" {
		e.t.Errorf("private keys that others may read on %s: %s", e.name(i), open)
	}
}
