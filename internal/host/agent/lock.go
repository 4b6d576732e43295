package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockRetry is how often a held lock is tried again: a blocking flock could
// not be given up when ctx ends.
const lockRetry = 5 * time.Millisecond

// lock takes the exclusive flock of a file, against other goroutines as well
// as other processes, and returns what gives it back.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := lockedFile(ctx, path)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back
}

// lockedFile holds the lock until it is closed.
func lockedFile(ctx context.Context, path string) (*os.File, error) {
	if err := mkdirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for {
		f, err := lockFile(ctx, path)
		if err != nil {
			return nil, err
		}
		if isAt(f, path) {
			return f, nil
		}
		if err := errors.Join(f.Close(), mkdirs(filepath.Dir(path))); err != nil {
			return nil, err
		}
	}
}

// isAt: purge removes locks, and whoever holds one that is gone holds nothing.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(mine, now)
}

func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockRetry)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		default:
			select {
			case <-ctx.Done():
				return nil, errors.Join(fmt.Errorf("wait for lock %s: %w", path, ctx.Err()), f.Close())
			case <-tick.C:
			}
		}
	}
}
