package app

import (
	"os"

	"cke/internal/cluster"
)

// snapshotHere says whether the file of a snapshot is on this machine, as it was
// written. Its name has the second it was taken in, so that another is not taken for it.
func snapshotHere(s cluster.Snapshot) bool {
	info, err := os.Stat(s.Path)
	return err == nil && info.Mode().IsRegular() && info.Size() == s.Bytes
}
