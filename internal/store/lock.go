package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockPatience bounds the wait for a lock whose holder is dead: a child it
	// was about to start has it until it becomes another program.
	lockPatience = 2 * time.Second
	lockEvery    = 5 * time.Millisecond
)

// lockDir takes <dir>/lock for this process. The kernel gives it back when the
// process ends, however it ends; the pid inside says who has it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := flock(f); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(&LockedError{Dir: dir, PID: readPID(path)}, f.Close())
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write pid to %s: %w", path, err), f.Close())
	}
	return f, nil
}

// flock locks at once or not at all, unless the holder is dead already.
func flock(f *os.File) error {
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(lockPatience); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		if pid := readPID(f.Name()); pid != 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return err
		}
	}
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID returns 0 when the holder has not written its pid yet.
func readPID(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
