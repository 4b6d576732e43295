package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

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
