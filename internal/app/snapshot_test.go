package app

import (
	"os"
	"path/filepath"
	"testing"

	"cke/internal/cluster"
)

// TestASnapshotIsWhereItsFileIs: whichever cke took it, and whatever its record says.
func TestASnapshotIsWhereItsFileIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd-20260102-030405.backup")
	s := cluster.Snapshot{Host: "cke-a", Path: path, Bytes: 3}
	if snapshotHere(s) {
		t.Error("a file that is not there is here")
	}
	for text, want := range map[string]bool{"abc": true, "ab": false, "": false} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if snapshotHere(s) != want {
			t.Errorf("a file of %d bytes in place of 3", len(text))
		}
	}
	if dir := (cluster.Snapshot{Path: t.TempDir(), Bytes: 4096}); snapshotHere(dir) {
		t.Error("a directory is a snapshot")
	}
}
