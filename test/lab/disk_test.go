package lab_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"cke/test/lab"
)

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write writes a file on the data disk and waits until it is on it.
const write = "dd if=/dev/zero of=" + lab.DataDir + "/probe bs=4k count=1 conv=fsync status=none"

func diskFull(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	heal := l.Break(t, lab.DiskFull(m))
	if _, err := try(t, patience, m, write); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("write to a full disk: %v", err)
	}
	sh(t, m, "echo a >/var/tmp/root-disk && sync /var/tmp/root-disk")
	heal()
	sh(t, m, write)
}

func diskHang(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	heal := l.Break(t, lab.DiskHang(m))
	began := time.Now()
	if _, err := try(t, time.Second, m, write); err == nil {
		t.Error("a write to a hanging disk came back")
	}
	if got := time.Since(began); got > patience { // the write comes back when it is healed
		t.Errorf("Exec came back after %s, its limit was 1 s", got)
	}
	sh(t, m, "cat /etc/hostname") // the machine itself is well
	heal()
	sh(t, m, write)
}

// A file system that is frozen when its machine ends outlives it, unseen.
func diskHangsAtPowerOff(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	hang := l.Break(t, lab.DiskHang(m))
	on := l.Break(t, lab.PowerOff(m))
	on()
	sh(t, m, write)
	hang()
}

func slowDisk(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	ten := func() time.Duration {
		began := time.Now()
		sh(t, m, "for i in 1 2 3 4 5 6 7 8 9 10; do "+write+"; done")
		return time.Since(began)
	}
	before := ten()
	heal := l.Break(t, lab.SlowDisk(m, 10))
	slow := ten()
	t.Logf("10 writes with fsync take %s, without the fault %s", slow, before)
	if slow < 900*time.Millisecond {
		t.Errorf("10 writes with fsync take %s at 10 a second", slow)
	}
	heal()
	eventually(t, "writes are fast again", func() bool { return ten() < slow/2 })
}

func diskEIO(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	sh(t, m, "echo kept >"+lab.DataDir+"/kept; sync")
	heal := l.Break(t, lab.DiskEIO(m))
	if _, err := try(t, patience, m, write); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("write to a broken disk: %v", err)
	}
	heal()
	sh(t, m, write)
	if got := sh(t, m, "cat "+lab.DataDir+"/kept"); got != "kept" {
		t.Errorf("healed, the disk holds %q", got)
	}
}

func powerCut(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	key, err := m.HostKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/var/tmp", lab.DataDir} {
		sh(t, m, "cd "+dir+"; echo a >synced; sync synced .; echo b >unsynced; echo c >>synced")
	}
	heal := l.Break(t, lab.PowerCut(m))
	if m.IsOn() {
		t.Error("the machine is on")
	}
	wantPing(t, false, [2]lab.Node{l.Box(), m})
	heal()
	for _, dir := range []string{"/var/tmp", lab.DataDir} {
		if got := sh(t, m, "cat "+dir+"/synced"); got != "a" {
			t.Errorf("%s: what was synced is %q, want only the first line", dir, got)
		}
		if got := sh(t, m, "ls "+dir); strings.Contains(got, "unsynced") {
			t.Errorf("%s: what was not synced is there: %s", dir, got)
		}
	}
	if got, err := m.HostKey(t.Context()); err != nil || got != key {
		t.Errorf("the host key is another one (%v)", err)
	}
}

func dataDisk(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	own := func() bool { return sh(t, m, "stat -c %m "+lab.DataDir) == lab.DataDir }
	list := func() string { return sh(t, m, "ls "+lab.DataDir) }
	cycle := func(change func() error) {
		t.Helper()
		if err := change(); err == nil {
			t.Error("the data disk was changed while the machine was on")
		}
		heal := l.Break(t, lab.PowerOff(m))
		if err := change(); err != nil {
			t.Fatal(err)
		}
		heal()
	}
	sh(t, m, "echo a >"+lab.DataDir+"/mark")
	if !own() {
		t.Fatal("the data disk is not a file system of its own")
	}
	cycle(m.DetachDataDisk)
	if own() || list() != "" {
		t.Errorf("without the disk the directory is a file system of its own (%v) or holds %q", own(), list())
	}
	cycle(m.AttachDataDisk)
	if !own() || !strings.Contains(list(), "mark") {
		t.Errorf("with the disk the directory is a file system of its own (%v) and holds %q", own(), list())
	}
	cycle(m.ReplaceDataDisk)
	if !own() || list() != "lost+found" {
		t.Errorf("with a new disk the directory is a file system of its own (%v) and holds %q", own(), list())
	}
}
