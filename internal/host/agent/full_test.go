package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

// TestFullDiskSpoilsNothing: where no byte is left, what is put is refused with
// the file system's name, what was there stays whole, and the machine tells how
// much room its members' data has. With room again all goes on.
func TestFullDiskSpoilsNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if onMachine() {
		t.Skip("with systemd: it mounts over the machine's own directories")
	}
	h := inProcess(t, b)
	var fill []func()
	for _, dir := range []string{"etc/cke", "var/lib/cke"} {
		at := filepath.Join(b.root, dir)
		must(t, os.MkdirAll(at, 0o755))
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=512k"); err != nil {
			t.Skipf("mount a small file system: %v", err)
		}
		t.Cleanup(func() { must(t, unix.Unmount(at, unix.MNT_DETACH)) })
		fill = append(fill, func() { fillUp(t, filepath.Join(at, "filler")) })
	}
	u := b.founder()
	b.install(t, h, u)
	before, err := h.Facts(t.Context(), u.Cluster, b.addr)
	must(t, err)
	if before.Disk.Mount != filepath.Join(b.root, "var/lib/cke") || before.Disk.Size != 512<<10 || before.Disk.Free <= 0 {
		t.Errorf("disk %+v", before.Disk)
	}
	for _, f := range fill {
		f()
	}
	other := u
	other.Quota++
	wantGuard(t, h.PutFiles(t.Context(), host.PutFiles{Cluster: u.Cluster, Files: newFiles(t, b.addr)}), host.NoSpace)
	wantGuard(t, h.InstallUnit(t.Context(), other), host.NoSpace)
	after, err := h.Facts(t.Context(), u.Cluster, b.addr)
	must(t, err)
	if after.Disk.Free != 0 {
		t.Errorf("disk %+v", after.Disk)
	}
	for kind, was := range before.Public {
		if !bytes.Equal(after.Public[kind], was) {
			t.Errorf("%s is another now", kind)
		}
	}
	for kind, fits := range after.KeyFits {
		if !fits {
			t.Errorf("%s does not fit its certificate any more", kind)
		}
	}
	if after.Unit == nil || !after.Unit.Unit.Equal(u) {
		t.Errorf("the unit is %+v", after.Unit)
	}
	for _, dir := range []string{"etc/cke", "var/lib/cke"} {
		must(t, os.Remove(filepath.Join(b.root, dir, "filler")))
	}
	must(t, h.PutFiles(t.Context(), host.PutFiles{Cluster: u.Cluster, Files: newFiles(t, b.addr)}))
	must(t, h.InstallUnit(t.Context(), other))
}

// fillUp writes until nothing more is taken, byte by byte in the end.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
}
