package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/test/lab"
)

// remains lists everything on the box that could be of a lab.
func remains(t *testing.T) []string {
	t.Helper()
	var found []string
	note := func(what string, lines ...string) {
		for _, l := range lines {
			if l = strings.TrimSpace(l); l != "" {
				found = append(found, what+": "+l)
			}
		}
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	having := func(text, part string) (lines []string) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, part) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	note("network namespace", having(run("ip", "netns", "list"), "ckelab")...)
	note("link", having(run("ip", "-o", "link"), "lab0")...)
	note("route", having(run("ip", "route", "show", "table", "all"), "10.77.")...)
	note("loop device", having(run("losetup", "-l", "-n", "-O", "NAME,BACK-FILE"), home()+"/run")...)
	note("process", having(run("ps", "-eo", "pid,args"), home()+"/run")...)
	note("process", having(run("ps", "-eo", "pid,args"), home()+"/bin/lab ")...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	note("mount", having(string(mounts), home()+"/run")...)
	for what, pattern := range map[string]string{
		"control group":     "/sys/fs/cgroup/cke-lab",
		"control group, v1": "/sys/fs/cgroup/*/cke-lab",
		"nspawn's":          "/run/systemd/nspawn/*/ckelab-*",
		"files":             home() + "/run",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		note(what, paths...)
	}
	return found
}

// remainsAfter is remains once nobody has the lab: that of a killed test is
// still being taken down, and another test may be waiting for its turn.
func remainsAfter(t *testing.T) []string {
	t.Helper()
	lock, err := os.OpenFile(home()+"/lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return remains(t)
}

func home() string {
	if dir := os.Getenv("CKE_LAB_HOME"); dir != "" {
		return dir
	}
	return "/var/tmp/cke-lab"
}

// inLab runs a test of this binary, one of those that run only so.
func inLab(t *testing.T, name string) (cmd *exec.Cmd, output func() string) {
	t.Helper()
	if why := lab.Unable(); why != "" {
		t.Skip(why)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd = exec.Command(os.Args[0], "-test.run=^TestInside$/^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// inside says that a test is run by another one, which looks at what it leaves.
const inside = "CKE_LAB_INSIDE"

// TestInside is three ways for a test to end, each with faults still there. It
// does nothing unless another test runs it.
func TestInside(t *testing.T) {
	if os.Getenv(inside) == "" {
		return
	}
	broken := func(t *testing.T) *lab.Lab {
		l := lab.Start(t, 2, lab.DataDisk("64M"), lab.Disk("256M"))
		h1, h2 := l.Machine(1), l.Machine(2)
		for _, f := range []lab.Fault{
			lab.DiskHang(h1), lab.Delay(h1, 10*time.Millisecond, 0), lab.Partition([]lab.Node{h1}, l.Rest(h1)),
			lab.Stall(h2), lab.Cut(h2),
		} {
			l.Break(t, f)
		}
		go h1.Exec(t.Context(), "sh", "-c", "echo hangs >"+lab.DataDir+"/file") // deaf to every signal
		return l
	}
	t.Run("fails", func(t *testing.T) { broken(t); t.Fatal("as it should") })
	t.Run("panics", func(t *testing.T) { broken(t); panic("as it should") })
	t.Run("hangs", func(t *testing.T) { broken(t); fmt.Println("broken"); select {} })
}

func TestALabLeavesNothingBehind(t *testing.T) {
	for _, name := range []string{"fails", "panics"} {
		cmd, out := inLab(t, name)
		if err := cmd.Wait(); err == nil || !strings.Contains(out(), "as it should") {
			t.Fatalf("a test that %s ends with %v:\n%s", name, err, out())
		}
		if strings.Contains(out(), "take the lab down") || strings.Contains(out(), "heal ") {
			t.Errorf("a test that %s has trouble at its end:\n%s", name, out())
		}
		if left := remainsAfter(t); len(left) > 0 {
			t.Errorf("a test that %s leaves behind:\n%s", name, strings.Join(left, "\n"))
		}
	}
}

func TestAKilledTestLeavesNothingBehind(t *testing.T) {
	cmd, out := inLab(t, "hangs")
	within(t, 5*time.Minute, "the lab is broken", func() bool { return strings.Contains(out(), "broken") })
	if len(remains(t)) < 10 {
		t.Fatalf("a running lab shows little: %v", remains(t))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if left := remainsAfter(t); len(left) > 0 {
		t.Errorf("a killed test leaves behind:\n%s", strings.Join(left, "\n"))
	}
}

func TestTwentyLightMachines(t *testing.T) {
	l := lab.Start(t, 20, lab.Light())
	for _, m := range l.Machines() {
		if got, err := ssh(t, m, lab.CKE, "hostname"); err != nil || got != m.Name() {
			t.Errorf("%s says %q, %v", m, got, err)
		}
	}
	l.Break(t, lab.PowerCut(l.Machine(20)))
	wantPing(t, false, [2]lab.Node{l.Box(), l.Machine(20)})
}
