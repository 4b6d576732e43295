package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestADiskThatFailsProvesNothing: a mark that cannot be read for an I/O error is
// no sign of lost data, as one that is not there, or is none, would be.
func TestADiskThatFailsProvesNothing(t *testing.T) {
	// Reading at the beginning of a process's memory is an I/O error, always.
	if k, err := readMark("/proc/self/mem"); !errors.Is(err, unix.EIO) {
		t.Errorf("an unreadable mark: %v, %v", k, err)
	}
	dir := t.TempDir()
	none, link, broken := filepath.Join(dir, "none"), filepath.Join(dir, "link"), filepath.Join(dir, "broken")
	must(t, errors.Join(os.Symlink("/proc/self/mem", link), os.WriteFile(broken, []byte("{"), 0o600)))
	for _, path := range []string{none, link, broken, dir} {
		if k, err := readMark(path); err != nil || k != (mark{}) {
			t.Errorf("%s: %v, %v", path, k, err)
		}
	}
}
