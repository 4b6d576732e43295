package remote

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host/remote/sshtest"
)

// The build for another architecture is what such a machine gets.
func TestHelperOfTheMachinesArchitecture(t *testing.T) {
	t.Parallel()
	for _, a := range arches() {
		m := newMachine(t, sshtest.Options{})
		m.program(t, "uname", "echo "+a.uname)
		_, h := reach(t, m.options(t), m.Node("root"))
		_, err := facts(t.Context(), h)
		if a.name == runtime.GOARCH {
			must(t, err)
		} else {
			// This machine is not one: what was put there does not run here.
			wantTrouble(t, err, cluster.HelperMissing, "no helper runs there")
		}
		names, err := filepath.Glob(m.libexec + "/*")
		must(t, err)
		if len(names) != 1 {
			t.Fatalf("%s: there are %v", a.name, names)
		}
		f, err := elf.Open(names[0])
		must(t, err)
		must(t, f.Close())
		if f.Machine != a.machine || f.Class != elf.ELFCLASS64 {
			t.Errorf("%s: it is a program for %v", a.name, f.Machine)
		}
		want, err := newHelpers(programs).sum(a.name)
		must(t, err)
		if filepath.Base(names[0]) != "cke-host-"+want {
			t.Errorf("%s: it is %s", a.name, names[0])
		}
	}
}

func TestHelperCannotBeInstalled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(m *machineAt, o *Options)
		words []string
	}{
		"full": {func(m *machineAt, _ *Options) {
			m.program(t, "cat", "head -c 100000; echo 'cat: write error: No space left on device' >&2; exit 1")
		}, []string{"install the helper in /", "No space left on device", "has room"}},
		"read-only": {func(m *machineAt, _ *Options) {
			must(t, os.MkdirAll(filepath.Dir(m.libexec), 0o755))
			must(t, os.WriteFile(m.libexec, nil, 0o644))
		}, []string{"install the helper in /", "File exists", "can be written"}},
		"damaged on the way": {func(m *machineAt, _ *Options) {
			m.program(t, "cat", "head -c 100000; exec /bin/cat >/dev/null")
		}, []string{"what arrived has another checksum"}},
		"another kind of machine": {func(m *machineAt, _ *Options) {
			m.program(t, "uname", "echo riscv64")
		}, []string{`a machine of the kind "riscv64"`}},
		"no helper here": {func(_ *machineAt, o *Options) {
			o.Helpers = t.TempDir()
		}, []string{"there is no helper for " + runtime.GOARCH, "make build", "ssh.helpers"}},
		"a shell for nobody": {func(m *machineAt, _ *Options) {
			m.program(t, "sh", "echo 'Please login as the user \"ubuntu\" rather than \"root\".'; exit 142")
		}, []string{"root logs in to", "Please login as the user"}},
	} {
		m := newMachine(t, sshtest.Options{})
		o := m.options(t)
		c.spoil(m, &o)
		_, h := reach(t, o, m.Node("root"))
		_, err := facts(t.Context(), h)
		t.Log(name)
		wantTrouble(t, err, cluster.HelperMissing, c.words...)
		if left, err := filepath.Glob(m.libexec + "/{*,.*}"); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
		if left, _ := filepath.Glob(m.libexec + "/.upload*"); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// A file for another architecture, or one that is exchanged, is not uploaded.
func TestHelpersAreChecked(t *testing.T) {
	t.Parallel()
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	copyTo := func(to string) string {
		dir := t.TempDir()
		b, err := os.ReadFile(filepath.Join(programs, "cke-host"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, to), b, 0o755))
		return dir
	}
	if _, err := newHelpers(copyTo("cke-host-linux-" + other)).sum(other); err == nil || !strings.Contains(err.Error(), "not for "+other) {
		t.Errorf("got %v", err)
	}
	dir := copyTo("cke-host")
	h := newHelpers(dir)
	before, err := h.sum(runtime.GOARCH)
	must(t, err)
	path := filepath.Join(dir, "cke-host")
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(b, 0), 0o755))
	if after, err := h.sum(runtime.GOARCH); err != nil || after != before {
		t.Errorf("the helper is another one now: %v", err)
	}
	if _, err := h.program(runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "start cke again") {
		t.Errorf("got %v", err)
	}
}

// sudo runs, as the real one, what follows -n.
const sudo = `[ "$1 $2 $3" = "-n cke-host serve" ] || { echo "sudo: a password is required" >&2; exit 1; }
shift; exec "$@"`

func greets(version, arch, sum string) string {
	return fmt.Sprintf("echo cke-host serves http2 1 %s %s %s; exec cat >/dev/null", version, arch, sum)
}

func TestHelperThatAnAdministratorInstalled(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{})
	m.program(t, "sudo", sudo)
	m.program(t, "cke-host", "exec "+filepath.Join(programs, "cke-host")+` "$@" --root `+m.root)
	_, h := reach(t, m.options(t), m.Node("cke"))
	_, err := facts(t.Context(), h)
	must(t, err)
	if _, err := os.Stat(m.libexec); err == nil {
		t.Error("something was uploaded")
	}
}

func TestHelperThatIsNotInstalled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sudo  string
		words []string
	}{
		"no sudo":       {"", []string{"sudo: "}},
		"not allowed":   {"echo 'sudo: a password is required' >&2; exit 1", []string{`it says "sudo: a password is required"`}},
		"not installed": {"echo 'sudo: cke-host: command not found' >&2; exit 1", []string{"command not found"}},
		"silent":        {"exit 1", []string{"it ends without a word"}},
		"hostile":       {`printf '\033[2J%01000d' 7 >&2; exit 1`, []string{"0007"}},
	} {
		m := newMachine(t, sshtest.Options{})
		if c.sudo == "" {
			m.program(t, "sudo", "exec /nonexistent/sudo")
		} else {
			m.program(t, "sudo", c.sudo)
		}
		_, h := reach(t, m.options(t), m.Node("cke"))
		_, err := facts(t.Context(), h)
		t.Log(name)
		got := wantTrouble(t, err, cluster.HelperMissing, append(c.words,
			"cke ALL=(root) NOPASSWD: /usr/local/bin/cke-host serve", "/etc/sudoers.d/cke",
			fmt.Sprintf("scp -P %d %s/cke-host", m.Address().Port(), programs), "sudo install -m 0755 /tmp/cke-host /usr/local/bin/cke-host")...)
		if strings.ContainsRune(got.Message, '\033') || len(got.Message) > 1000 {
			t.Errorf("%s: what it says is shown as it is: %q", name, got.Message)
		}
	}
}

func TestHelperOfAnotherBuild(t *testing.T) {
	t.Parallel()
	sum, err := newHelpers(programs).sum("arm64")
	must(t, err)
	zero := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		greeting string
		helpers  string
		words    []string // none: it is taken
	}{
		"older":               {greets("v0.9", "arm64", zero), programs, []string{"is of version v0.9; this cke has another one, of version v0", "cke-host-linux-arm64 127.0.0.1:/tmp/cke-host"}},
		"same name":           {greets("v0", "amd64", zero), programs, []string{"another build of it"}},
		"another protocol":    {strings.Replace(greets("v7", "arm64", sum), "http2 1", "http2 7", 1), programs, []string{"is of version v7"}},
		"of this build":       {greets("v0", "arm64", sum), programs, nil},
		"no file, older":      {greets("v0.9", "arm64", zero), t.TempDir(), []string{"is of version v0.9"}},
		"no file, of version": {greets("v0", "arm64", zero), t.TempDir(), nil},
	} {
		for _, user := range []string{"cke", "root"} { // as a forced command, whoever logs in
			m := newMachine(t, sshtest.Options{Run: func(string, string) *exec.Cmd { return exec.Command("sh", "-c", c.greeting) }})
			o := m.options(t)
			o.Helpers = c.helpers
			hosts := New(o)
			machine, err := hosts.machine(m.Node(user))
			must(t, err)
			_, err = machine.link.connected(t.Context())
			t.Log(name, user)
			if c.words == nil {
				must(t, err)
			} else {
				wantTrouble(t, err, cluster.HelperVersion, append(c.words, "sudo install -m 0755", "forced command")...)
			}
			must(t, hosts.Close())
		}
	}
}

// Whatever a request holds, what is run on the machine is one of three
// constants.
func TestCommandsAreConstants(t *testing.T) {
	t.Parallel()
	var ran []string
	for _, user := range []string{"root", "cke"} {
		m := newMachine(t, sshtest.Options{Run: func(_, command string) *exec.Cmd {
			ran = append(ran, command)
			return forced(t.TempDir())("", "")
		}})
		o := m.options(t)
		o.libexec = libexecDir
		_, h := reach(t, o, m.Node(user))
		for _, name := range []string{"main", "$(id)", "'; id; '", "../../etc", strings.Repeat("x", 1<<20)} {
			_, _ = h.Facts(t.Context(), name, m.Address().Addr()) // refused, most of them
		}
	}
	if len(ran) != 2 || ran[1] != "sudo -n cke-host serve" {
		t.Fatalf("ran %q", ran)
	}
	sums := map[string]string{}
	for _, a := range arches() {
		var err error
		sums[a.name], err = newHelpers(programs).sum(a.name)
		must(t, err)
	}
	if ran[0] != serveScript("/opt/cke/libexec", sums) || strings.Count(ran[0], "'") != 2 {
		t.Errorf("ran %q", ran[0])
	}
}
