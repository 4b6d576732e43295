package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	machines, err := filepath.Glob(filepath.Join(h.run(), "h*"))
	do(err)
	for _, dir := range machines { // a process that waits for a frozen disk does not end
		for _, name := range []string{"disk", "data"} {
			d := disk{dir: dir, name: name}
			do(ignoring(errNotMounted, d.thaw()))
		}
	}
	do(killGroup(""))
	do(freeLoops(h.run()))
	do(removeNetwork())
	do(removeGroup(""))
	do(removeTraces(machines))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take the lab down: %w", err)
	}
	if err := os.RemoveAll(h.run()); err != nil {
		return fmt.Errorf("take the lab down: %w", err)
	}
	return nil
}

// nspawnState is where nspawn keeps directories of its machines and its locks.
const nspawnState = "/run/systemd/nspawn"

// removeTraces removes what nspawn, killed, leaves of these machines.
func removeTraces(machines []string) error {
	paths, err := filepath.Glob(nspawnState + "/*/" + switchSpace + "-*")
	errs := []error{err}
	for _, path := range paths {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
		errs = append(errs, os.RemoveAll(path))
	}
	for _, dir := range machines {
		roots, err := os.ReadFile(filepath.Join(dir, "roots"))
		if err != nil {
			continue // it never booted
		}
		for _, root := range strings.Fields(string(roots)) {
			errs = append(errs, os.RemoveAll(nspawnState+"/locks/inode-"+root))
		}
	}
	return errors.Join(errs...)
}
