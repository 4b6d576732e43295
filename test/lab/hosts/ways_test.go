package hosts

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cke/test/lab"
)

// install puts a helper where an administrator would.
func (e *env) install(i int, program string) {
	e.t.Helper()
	args := append(e.lab.Machine(i).SSHArgs(lab.Ops), "cat >/tmp/cke-host && sudo install -m 0755 /tmp/cke-host /usr/local/bin/cke-host && rm /tmp/cke-host")
	cmd := exec.Command("sh", append([]string{"-c", `p=$1; shift; exec ssh "$@" <"$p"`, "sh", program}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("install %s on %s: %v\n%s", program, e.name(i), err, out)
	}
}

// otherHelper builds a helper of another version.
func (e *env) otherHelper() string {
	e.t.Helper()
	out := filepath.Join(e.Dir, "cke-host-other")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-B 0x0102030405060708", "-o", out, "cke/cmd/cke-host")
	if text, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("build another cke-host: %v\n%s", err, text)
	}
	return out
}

// TestSudo: a user who may run exactly one program as root is enough. The
// helper is the administrator's to install; a missing one and one of another
// version are blocked, with the command that mends it.
func TestSudo(t *testing.T) {
	e := newEnv(t, 3)
	e.user = lab.CKE
	e.Start()
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	for _, i := range []int{1, 2, 3} {
		r := e.Reason("helperIsMissing", e.name(i))
		e.Says("the hint", r.Hint, filepath.Join(e.Bin, "cke-host"), "sudo install -m 0755", "/usr/local/bin/cke-host", "NOPASSWD: /usr/local/bin/cke-host serve")
	}
	e.install(1, filepath.Join(e.Bin, "cke-host"))
	e.install(2, e.otherHelper())
	r := e.Reason("helperIsAnotherVersion", "h2")
	e.Says("the hint", r.Hint, "sudo install -m 0755")
	e.install(2, filepath.Join(e.Bin, "cke-host"))
	e.install(3, filepath.Join(e.Bin, "cke-host"))
	e.Settled()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if out := e.sh(1, "ls /opt/cke/libexec 2>/dev/null || true"); out != "" {
		t.Errorf("a helper was uploaded although the user is not root: %s", out)
	}
	e.Says("node list", e.CLI("node", "list"), "cke@10.77.0.11")
}

// TestForcedCommand: a key that can do nothing but start the helper is enough.
func TestForcedCommand(t *testing.T) {
	e := newEnv(t, 3)
	for _, i := range []int{1, 2, 3} {
		e.install(i, filepath.Join(e.Bin, "cke-host"))
		e.must(e.lab.Machine(i).LimitKey(e.ctx(), lab.Root, `restrict,command="/usr/local/bin/cke-host serve"`))
	}
	e.Start()
	e.Set(e.yaml(1, 2, 3))
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if out := e.sh(1, "ls /opt/cke/libexec 2>/dev/null || true"); out != "" {
		t.Errorf("a helper was uploaded although the key has a forced command: %s", out)
	}
}

// TestChangedHostKey: a machine that shows another key than before is blocked,
// loudly, until a person trusts the new one by its fingerprint; the others and
// its member go on.
func TestChangedHostKey(t *testing.T) {
	e := newEnv(t, 3)
	e.Start()
	file := e.Write("cluster.yml", withoutHostKeys(e.yaml(1, 2, 3)))
	for _, i := range []int{1, 2, 3} {
		e.CLI("cluster", "set", file)
		e.Says("trust", e.CLI("node", "trust", e.addr(i)), e.hostKey(i))
	}
	e.Settled()
	pid, old := e.mainPID(3), e.hostKey(3)
	e.must(e.lab.Machine(3).NewHostKey(e.ctx()))
	e.sh(3, "pkill -f '[s]shd: root' || true") // an open connection does not ask again
	r := e.Reason("hostKeyHasChanged", "h3")
	fresh := e.hostKey(3)
	e.Says("the reason", r.Text, old, fresh)
	e.Says("node list", e.CLI("node", "list"), "HOST KEY CHANGED")
	e.CLIFails(3, []string{"node", "trust", e.addr(3)}, old, fresh, "--fingerprint")
	e.CLIFails(3, []string{"node", "trust", e.addr(3), "--fingerprint", old}, fresh)
	e.CLI("node", "trust", e.addr(3), "--fingerprint", fresh)
	e.Settled()
	if now := e.mainPID(3); now != pid {
		t.Errorf("the member on h3 was restarted: pid %s, was %s", now, pid)
	}
	if !strings.Contains(e.CLI("history", "-n", "50"), "trust") {
		t.Error("history does not say who trusted what")
	}
}
