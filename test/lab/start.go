package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Start boots n machines for a test and takes them down when it ends. There is
// one lab at a time on a box: Start waits while another test has it. A test that
// cannot have one, because it is not root or a program is missing, is skipped.
func Start(t testing.TB, n int, opts ...Option) *Lab {
	t.Helper()
	if why := Unable(); why != "" {
		t.Skip(why)
	}
	l, err := Open(n, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("lab: %d machines after %s", n, l.BootTime().Round(time.Millisecond))
	return l
}

// Open is Start for a program, which closes the lab; should it be killed before,
// the lab is taken down all the same.
func Open(n int, opts ...Option) (*Lab, error) {
	if why := Unable(); why != "" {
		return nil, errors.New(why)
	}
	h := defaultHome()
	lock, err := lockHome(h)
	if err != nil {
		return nil, err
	}
	l, err := open(h, lock, n, newOptions(opts))
	if err != nil {
		unlock(lock)
		return nil, err
	}
	return l, nil
}

// open boots a lab that this process has the lock of.
func open(h home, lock *os.File, n int, o options) (*Lab, error) {
	if exists(h.kept()) {
		return nil, errors.New("start a lab: the one of `make lab-up` is up; `make lab-down` ends it")
	}
	if err := down(h); err != nil { // of an earlier run that was killed
		return nil, err
	}
	if err := buildProgram(h); err != nil {
		return nil, err
	}
	release, err := guard(h, lock)
	if err != nil {
		return nil, err
	}
	end := func() error { return errors.Join(down(h), release()) }
	l, err := build(h, n, o)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	l.end = func() error {
		defer unlock(lock)
		return end()
	}
	return l, nil
}

// Close takes the lab down and lets the next one have the box.
func (l *Lab) Close() error { return l.end() }

// Unable says why there can be no lab here, "" if there can.
func Unable() string {
	if os.Geteuid() != 0 {
		return "a lab needs root"
	}
	var missing []string
	for _, p := range []string{
		"systemd-nspawn", "systemd-id128", "mmdebstrap", "ip", "nft", "iptables-legacy", "nsenter", "setpriv", "mkfs.ext4", "ssh", "ssh-keygen", "sysctl",
	} {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return "a lab needs " + strings.Join(missing, ", ") + "; docs/LAB.md names the packages"
	}
	return ""
}

// lockHome waits until this process has the lab to itself. The kernel lets go of
// the lock when every copy of the file is closed.
func lockHome(h home) (*os.File, error) {
	if err := os.MkdirAll(string(h), 0o755); err != nil {
		return nil, fmt.Errorf("make %s: %w", h, err)
	}
	f, err := os.OpenFile(h.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the lab: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			unlock(f)
			return nil, fmt.Errorf("lock the lab: %w", err)
		}
	}
}

// unlock lets the next one have the lab; closing fails only what is closed.
func unlock(lock *os.File) { _ = lock.Close() }

// buildProgram builds cmd/lab, parts of which run beside the tests.
func buildProgram(h home) error {
	if err := os.MkdirAll(filepath.Dir(h.program()), 0o755); err != nil {
		return fmt.Errorf("build the lab's program: %w", err)
	}
	cmd := exec.Command("go", "build", "-o", h.program(), "cke/test/lab/cmd/lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("build the lab's program: %w", err)
	}
	return nil
}

// guard starts a process that takes the lab down should this one end without
// having done so: killed, out of time, out of memory. It notices by the end of
// its standard input, and holds a copy of the lock until it is done.
func guard(h home, lock *os.File) (release func() error, err error) {
	log, err := os.Create(filepath.Join(string(h), "guard.log"))
	if err != nil {
		return nil, fmt.Errorf("guard the lab: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(h.program(), "guard")
	cmd.Env = append(os.Environ(), "CKE_LAB_HOME="+string(h))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard the lab: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard the lab: %w", err)
	}
	return func() error {
		defer stdin.Close()
		if err := cmd.Process.Kill(); err != nil {
			return fmt.Errorf("end the lab's guard: %w", err)
		}
		cmd.Wait() //nolint:errcheck // killed, as it was to be
		return nil
	}, nil
}
