package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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

// disk is a file system of its own: an ext4 in a file, on a loop device. It is
// mounted while its machine is on, and only where the machine sees it (boot.sh).
type disk struct {
	dir  string // of the machine
	name string
	size string
}

func (d *disk) image() string { return filepath.Join(d.dir, d.name+".img") }

// format makes it, empty.
func (d *disk) format() error {
	if _, err := command("truncate", "-s", d.size, d.image()); err != nil {
		return err
	}
	_, err := command("mkfs.ext4", "-q", "-m0", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image())
	return err
}

// at is the path by which the box reaches the mounted disk: through the process
// that has it mounted.
func (d *disk) at() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.dir, "holder"))
	pid := strings.TrimSpace(string(text))
	if err != nil || !slices.Contains(groupProcesses(filepath.Base(d.dir)), processID(pid)) {
		return "", fmt.Errorf("find %s: %w", d.image(), errNotMounted)
	}
	return filepath.Join("/proc", pid, "root", d.dir, d.name), nil
}

var errNotMounted = errors.New("the machine is off")

// processID reads what should be one; 0, which no process has, if it is none.
func processID(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// open opens the root of the file system.
func (d *disk) open() (*os.File, error) {
	at, err := d.at()
	if err != nil {
		return nil, err
	}
	return os.Open(at)
}

// ioctl asks something of the file system.
func (d *disk) ioctl(what string, number uint, value int) error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return request(f, what, number, value)
}

func request(f *os.File, what string, number uint, value int) error {
	if err := unix.IoctlSetPointerInt(int(f.Fd()), number, value); err != nil {
		return fmt.Errorf("%s %s: %w", what, f.Name(), err)
	}
	return nil
}

// ignoring is err, or nil if it is one that says that there is nothing to do.
func ignoring(expected, err error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// freeze makes every write to the disk wait, thaw lets them go on.
func (d *disk) freeze() error { return d.ioctl("freeze", fiFreeze, 0) }
func (d *disk) thaw() error   { return ignoring(unix.EINVAL, d.ioctl("thaw", fiThaw, 0)) }

// shutdown is the end of the disk: nothing that is not on it by now gets there,
// and everything answers EIO until it is unmounted.
func (d *disk) shutdown() error {
	return ignoring(unix.EIO, d.ioctl("shut down", fsShutdown, withoutFlush)) // it is already
}

func (d *disk) sync() error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", d.image(), err)
	}
	return nil
}

// number is the disk's device as control groups name it, such as 7:0.
func (d *disk) number() (string, error) {
	f, err := d.open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("find the device of %s: %w", d.image(), err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), nil
}

// filler is the name of the file that fills a disk.
const filler = "lab-filler"

// fill takes every free block: first in large pieces, then down to the last.
func (d *disk) fill() error {
	at, err := d.at()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(at, filler), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	var end int64
	for piece := int64(1 << 30); piece >= 4096; {
		switch err := unix.Fallocate(int(f.Fd()), 0, end, piece); {
		case err == nil:
			end += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return f.Sync()
}

func (d *disk) unfill() error {
	at, err := d.at()
	if err != nil {
		// Not wrapped: unlike other faults this one outlives a restart.
		return errors.New("empty disk: " + err.Error())
	}
	return os.Remove(filepath.Join(at, filler))
}
