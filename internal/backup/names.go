package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

const nameLayout = "etcd-20060102-150405.backup"

var namePattern = regexp.MustCompile(`^etcd-[0-9]{8}-[0-9]{6}\.backup$`)

// maxSameSecond bounds the search for a free name.
const maxSameSecond = 3600

// isBackup says whether a directory entry is a backup by its name and kind.
func isBackup(e fs.DirEntry) bool {
	if !namePattern.MatchString(e.Name()) || !e.Type().IsRegular() {
		return false
	}
	_, err := time.Parse(nameLayout, e.Name())
	return err == nil
}

// rename gives the partial file the first free name from a second on. The
// directory is locked against other backups.
func rename(partial, dir string, from time.Time) (string, error) {
	for i := range maxSameSecond {
		path := filepath.Join(dir, from.Add(time.Duration(i)*time.Second).Format(nameLayout))
		err := renameNew(partial, path)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("name backup: %w", err)
		}
		return path, nil
	}
	return "", fmt.Errorf("name backup: no name is free within %d seconds of %s", maxSameSecond, from.Format(nameLayout))
}

// renameNew renames without overwriting: link(2) fails where the name exists.
// Some file systems have no links; there the lock on the directory has to do.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		if err := os.Remove(from); err != nil {
			return errors.Join(err, os.Remove(to))
		}
		return nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		if _, err := os.Lstat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	}
	return err
}

// prune removes the oldest backups, by name, until as many are left as are to
// be kept, but never the new one. What is not a backup by name and kind is not
// counted and not touched.
func prune(dir, made string, keep int) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name, which is by age
	if err != nil {
		return nil, fmt.Errorf("look for old backups: %w", err)
	}
	var old []string
	for _, e := range entries {
		if isBackup(e) && e.Name() != made {
			old = append(old, e.Name())
		}
	}
	var removed []string
	for i := 0; i < len(old)-(keep-1); i++ {
		path := filepath.Join(dir, old[i])
		if err := os.Remove(path); err != nil {
			return removed, fmt.Errorf("remove old backup: %w", err)
		}
		removed = append(removed, path)
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, syncDir(dir)
}
