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

// Requests of linux/fs.h and of ext4 (which took XFS's) that x/sys has no name
// for.
const (
	fiFreeze     = 0xc0045877 // FIFREEZE
	fiThaw       = 0xc0045878 // FITHAW
	fsShutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
	withoutFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// disk is a file system of its own: an ext4 in a file, on a loop device.
type disk struct {
	image string // the file
	at    string // where the box mounts it
	size  string
}

// mount mounts the disk, formatted if it is new.
func (d *disk) mount() error {
	if mounted(d.at) {
		return nil
	}
	if _, err := os.Stat(d.image); err != nil {
		if err := d.format(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.at, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", d.at, err)
	}
	// What is not synced must be lost in a power cut, so the journal is written
	// as seldom as ext4 lets it be.
	_, err := command("mount", "-o", "loop,commit=300", d.image, d.at)
	return err
}

func (d *disk) format() error {
	if err := os.MkdirAll(filepath.Dir(d.image), 0o755); err != nil {
		return fmt.Errorf("make disk %s: %w", d.image, err)
	}
	if _, err := command("truncate", "-s", d.size, d.image); err != nil {
		return err
	}
	_, err := command("mkfs.ext4", "-q", "-m0", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image)
	return err
}

// unmount unmounts the disk, and makes sure that it really is: a loop device
// that survives is still mounted in some namespace, and the next mount would
// find everything that was to be lost.
func (d *disk) unmount() error {
	if mounted(d.at) {
		if err := unmount(d.at); err != nil {
			return err
		}
	}
	err := poll(5*time.Second, d.image+" to have no loop device", func() bool { return len(loopsOf(d.image)) == 0 })
	if err != nil {
		return fmt.Errorf("%w: some mount namespace holds it", err)
	}
	return nil
}

// ioctl asks something of the file system.
func (d *disk) ioctl(what string, request uint, value int) error {
	return fsIoctl(d.at, what, request, value)
}

func fsIoctl(at, what string, request uint, value int) error {
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, at, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, request, value); err != nil {
		return fmt.Errorf("%s %s: %w", what, at, err)
	}
	return nil
}

// freeze makes every write to the disk wait, thaw lets them go on.
func (d *disk) freeze() error { return d.ioctl("freeze", fiFreeze, 0) }
func (d *disk) thaw() error   { return thaw(d.at) }

func thaw(at string) error {
	err := fsIoctl(at, "thaw", fiThaw, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil // it is not frozen
	}
	return err
}

// shutdown is the end of the disk: nothing that is not on it by now gets there,
// and everything answers EIO until it is unmounted.
func (d *disk) shutdown() error {
	err := d.ioctl("shut down", fsShutdown, withoutFlush)
	if errors.Is(err, unix.EIO) {
		return nil // it is already
	}
	return err
}

func (d *disk) sync() error {
	fd, err := unix.Open(d.at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", d.at, err)
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("sync %s: %w", d.at, err)
	}
	return nil
}

// number is the disk's device as control groups name it, such as 7:0.
func (d *disk) number() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(d.at, &st); err != nil {
		return "", fmt.Errorf("find the device of %s: %w", d.at, err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), nil
}

// filler is the file that fills a disk.
func (d *disk) filler() string { return filepath.Join(d.at, "lab-filler") }

// fill takes every free block: first in large pieces, then down to the last.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	var at int64
	for piece := int64(1 << 30); piece >= 4096; {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, piece); {
		case err == nil:
			at += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return f.Sync()
}

func (d *disk) unfill() error { return os.Remove(d.filler()) }

// mountPoints lists what is mounted at or below dir, the innermost last.
func mountPoints(dir string) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			points = append(points, f[4])
		}
	}
	return points
}

func mounted(at string) bool {
	for _, p := range mountPoints(at) {
		if p == at {
			return true
		}
	}
	return false
}

// unmount waits for the last process in it to let go.
func unmount(at string) error {
	var err error
	if slow := poll(5*time.Second, "unmount", func() bool {
		err = unix.Unmount(at, 0)
		return !errors.Is(err, unix.EBUSY)
	}); slow != nil || err != nil {
		return fmt.Errorf("unmount %s: %w", at, err)
	}
	return nil
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
