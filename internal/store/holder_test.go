package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

func TestHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(when string, want int) {
		t.Helper()
		if pid, err := Holder(dir); err != nil || pid != want {
			t.Errorf("%s: pid %d, %v; want %d", when, pid, err, want)
		}
	}
	check("never locked", 0)
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	check("locked", os.Getpid())
	var locked *LockedError
	if _, err := lockDir(dir); !errors.As(err, &locked) { // asking gave nothing away
		t.Errorf("locked twice: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	check("given back, by a process that goes on", 0)
	for _, pid := range []string{"", "x", strconv.Itoa(1 << 30)} {
		if err := os.WriteFile(filepath.Join(dir, "lock"), []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
		check("the pid is "+strconv.Quote(pid), 0)
	}
	if pid, err := Holder(filepath.Join(dir, "none")); err != nil || pid != 0 {
		t.Errorf("no directory: %d %v", pid, err)
	}
}

// TestEnded: a process its parent has not asked for yet runs no more; only root
// may look at its descriptors, and nobody needs to.
func TestEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process ends", func() bool { return Ended(cmd.Process.Pid) })
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !Ended(cmd.Process.Pid) || Ended(os.Getpid()) {
		t.Error("a process that is gone, or this one, is mistaken")
	}
}
