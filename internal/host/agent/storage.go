package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// storageError makes a refusal of what a file system has against a change:
// trying again helps nothing until somebody has seen to it. The text is the same
// each time, though temporary files have other names.
func storageError(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	path := ""
	switch {
	case errors.As(err, &at):
		path = at.Path
	case errors.As(err, &link):
		path = link.New
	}
	if path == "" || strings.HasPrefix(path, "/proc/") || host.IsTyped(err) {
		return err
	}
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return refuse(host.NoSpace, "the file system %s has no room: %s cannot be written to", mountPoint(dir), dir)
	case errors.Is(err, unix.EROFS):
		return refuse(host.ReadOnly, "the file system %s is read-only: %s cannot be written to", mountPoint(dir), dir)
	case errors.Is(err, unix.EIO):
		return refuse(host.DiskFails, "the disk of %s fails: input/output error in %s", mountPoint(dir), dir)
	}
	return err
}

// diskOf is the file system of a path or its nearest parent.
func diskOf(path string) (cluster.Disk, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		return diskOf(filepath.Dir(path))
	}
	if err != nil {
		return cluster.Disk{}, fmt.Errorf("look at the space of %s: %w", path, err)
	}
	return cluster.Disk{Mount: mountPoint(path), Size: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize}, nil
}
