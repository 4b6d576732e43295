package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down removes whatever there is of a lab, in whatever state: running, broken,
// half made, or left by a process that was killed. It finds everything by its
// name, and only ends what is in the lab's control groups. It reports what it
// cannot remove.
func Down() error { return down(defaultHome()) }

func down(h home) error {
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	// A process that waits for a frozen disk does not end.
	for _, at := range mountPoints(h.run()) {
		if filepath.Base(at) != "root" {
			do(thaw(at))
		}
	}
	do(killGroup(""))
	do(unmountBelow(h.run()))
	do(removeNetwork())
	do(removeGroup(""))
	do(removeTraces())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take the lab down: %w", err)
	}
	if err := os.RemoveAll(h.run()); err != nil {
		return fmt.Errorf("take the lab down: %w", err)
	}
	return nil
}

// unmountBelow unmounts everything below dir and sees that no loop device is
// left. A machine's root is mounted after the disk it is on, hence backwards.
func unmountBelow(dir string) error {
	var errs []error
	points := mountPoints(dir)
	for i := len(points) - 1; i >= 0; i-- {
		if filepath.Base(points[i]) == "root" {
			errs = append(errs, unmountRoot(points[i]))
		} else {
			errs = append(errs, unmount(points[i]))
		}
	}
	if poll(5*time.Second, "loop devices", func() bool { return len(loopsOf(dir)) == 0 }) != nil {
		errs = append(errs, fmt.Errorf("free %s: some mount namespace holds them", strings.Join(loopsOf(dir), ", ")))
	}
	return errors.Join(errs...)
}

// nspawnState is where nspawn keeps directories of its machines and its locks.
const nspawnState = "/run/systemd/nspawn"

// unmountRoot unmounts a machine's root. nspawn, killed, leaves its lock on it:
// a file that is named after the file system, which only now has a name.
func unmountRoot(at string) error {
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err == nil {
		lock := fmt.Sprintf("%s/locks/inode-%d:%d", nspawnState, st.Dev, st.Ino)
		if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove nspawn's lock: %w", err)
		}
	}
	return unmount(at)
}

// removeTraces removes the directories that nspawn, killed, leaves of a machine.
func removeTraces() error {
	paths, err := filepath.Glob(nspawnState + "/*/" + switchSpace + "-*")
	errs := []error{err}
	for _, path := range paths {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
