package lab_test

import (
	"strings"
	"testing"
	"time"

	"cke/test/lab"
)

// Without a data disk, the faults of disks are those of the disk that the whole
// machine is on, the journal and sshd with it.
func TestAMachineWithOneDisk(t *testing.T) {
	const write = "dd if=/dev/zero of=/var/tmp/probe bs=4k count=1 conv=fsync status=none"
	l := lab.Start(t, 1, lab.Disk("256M"))
	m := l.Machine(1)
	fails := func(limit time.Duration, why string) {
		t.Helper()
		if _, err := try(t, limit, m, write); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("write: %v, want %q", err, why)
		}
	}
	full := l.Break(t, lab.DiskFull(m))
	fails(patience, "No space left")
	full()
	sh(t, m, write)

	broken := l.Break(t, lab.DiskEIO(m))
	fails(patience, "Input/output error")
	broken()
	sh(t, m, write)

	hang := l.Break(t, lab.DiskHang(m))
	fails(time.Second, "deadline exceeded")
	off := l.Break(t, lab.PowerCut(m)) // with a process in it that cannot be killed
	off()
	sh(t, m, write)
	hang()
	sh(t, m, write)
}
