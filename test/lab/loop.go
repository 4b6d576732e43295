package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// freeLoops waits until no loop device has a file in dir. One that stays is
// mounted somewhere still, and what was to be lost with it is not.
func freeLoops(dir string) error {
	free := func() bool { return len(loopsOf(dir)) == 0 }
	if poll(500*time.Millisecond, "", free) == nil {
		return nil
	}
	// A file system that was frozen when its machine ended lives on, mounted
	// nowhere, until it is thawed.
	var errs []error
	for _, loop := range loopsOf(dir) {
		errs = append(errs, thawLoop(loop, dir))
	}
	if poll(time.Minute, "", free) != nil {
		held := strings.Join(loopsOf(dir), ", ")
		errs = append(errs, fmt.Errorf("free the disks in %s: some mount namespace holds %s", dir, held))
		return errors.Join(errs...)
	}
	return nil
}

// thawLoop thaws the file system of a loop device. Mounting a device whose file
// system is alive mounts that one.
func thawLoop(loop, dir string) error {
	at, err := os.MkdirTemp(dir, "thaw-")
	if err != nil {
		return fmt.Errorf("thaw %s: %w", loop, err)
	}
	defer os.Remove(at) //nolint:errcheck // it goes with dir
	if err := unix.Mount(loop, at, "ext4", 0, ""); err != nil {
		return fmt.Errorf("thaw %s: %w", loop, err)
	}
	return errors.Join(thawAt(at), unix.Unmount(at, 0))
}

func thawAt(at string) error {
	f, err := os.Open(at)
	if err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	defer f.Close()
	return ignoring(unix.EINVAL, request(f, "thaw", fiThaw, 0)) // it is not frozen
}

// loopsOf lists the loop devices whose file is this one or below it.
func loopsOf(path string) []string {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil
	}
	var loops []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it was let go of meanwhile
		}
		// A deleted file still has its name here, with a mark behind it.
		name := strings.TrimSuffix(strings.TrimSpace(string(text)), " (deleted)")
		if name == path || strings.HasPrefix(name, path+"/") {
			loops = append(loops, "/dev/"+strings.Split(f, "/")[3])
		}
	}
	return loops
}
