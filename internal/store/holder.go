package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Holder returns the pid of the process that holds the data directory's lock,
// or 0 when there is none. It does not try the lock: that could make a daemon
// that starts meanwhile give up.
func Holder(dir string) (int, error) {
	path := filepath.Join(dir, "lock")
	lock, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at lock: %w", err)
	}
	pid := readPID(path)
	if pid == 0 || Ended(pid) {
		return 0, nil
	}
	// The pid may be an earlier holder's and another process's by now.
	open, err := hasOpen(pid, lock)
	if err != nil {
		return 0, fmt.Errorf("look at pid %d of %s: %w", pid, path, err)
	}
	if !open {
		return 0, nil
	}
	return pid, nil
}

// hasOpen looks through a process's descriptors (proc_pid_fd(5)).
func hasOpen(pid int, file fs.FileInfo) (bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, fd := range fds {
		info, err := os.Stat(filepath.Join(dir, fd.Name()))
		if err == nil && os.SameFile(info, file) { // others are closed meanwhile, or nobody's to look at
			return true, nil
		}
	}
	return false, nil
}

// Ended says whether a process runs no more. One that its parent has not asked
// for yet has ended too (state Z in proc_pid_stat(5), behind the program's name,
// which may itself hold anything).
func Ended(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	end := bytes.LastIndex(b, []byte(") "))
	return end >= 0 && end+2 < len(b) && b[end+2] == 'Z'
}
