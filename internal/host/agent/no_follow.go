package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

// rootsDir is a directory that was reached over no link and that nobody but root may
// write to, nor to any above it: what is done in it is done there and nowhere
// else. It is open; names in it are single ones.
type rootsDir struct {
	file *os.File
	path string
}

// reachDir goes down from a root, one name after the other. Directories that are
// not there are made when made is given, which is told of each before.
func reachDir(root, path string, made func(path string) error) (_ rootsDir, err error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return rootsDir{}, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	d := rootsDir{os.NewFile(uintptr(fd), root), root}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next, err := d.below(name, made)
		if err := errors.Join(err, d.close()); err != nil {
			if next.file != nil {
				err = errors.Join(err, next.close())
			}
			return rootsDir{}, err
		}
		d = next
	}
	return d, nil
}

func (d rootsDir) below(name string, made func(path string) error) (rootsDir, error) {
	path := filepath.Join(d.path, name)
	fd, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) && made != nil {
		if err := made(path); err != nil {
			return rootsDir{}, err
		}
		if err := d.mkdir(name); err != nil {
			return rootsDir{}, err
		}
		fd, err = d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return rootsDir{}, refuse(host.ForeignFile, "%s is a link or no directory: put the certificate into a directory that is reached over none", path)
	}
	if err != nil {
		return rootsDir{}, err
	}
	next := rootsDir{os.NewFile(uintptr(fd), path), path}
	if err := next.onlyOurs(); err != nil {
		return rootsDir{}, errors.Join(err, next.close())
	}
	return next, nil
}

// onlyOurs is onlyRootWrites, but that an agent which is not root works for
// itself alone.
func (d rootsDir) onlyOurs() error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	uid, _, err := ownerOfFile(d.file)
	if err != nil {
		return err
	}
	if me := os.Geteuid(); me != 0 && uid == me && info.Mode().Perm()&0o022 == 0 {
		return nil
	}
	return onlyRootWrites(d.path, info)
}

func (d rootsDir) close() error { return d.file.Close() }
func (d rootsDir) sync() error  { return d.file.Sync() }

func (d rootsDir) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// open follows no link and waits at no pipe.
func (d rootsDir) open(name string, flags int, mode uint32) (int, error) {
	fd, err := unix.Openat(int(d.file.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
	return fd, d.failed("open", name, err)
}

// mkdir makes a directory that everyone may look into, whatever the umask, and
// its entry durable.
func (d rootsDir) mkdir(name string) error {
	at := int(d.file.Fd())
	if err := unix.Mkdirat(at, name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return d.failed("mkdir", name, err)
	}
	fd, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.failed("chmod", name, unix.Fchmod(fd, 0o755)), unix.Close(fd), d.sync())
}

// found is a file in a rootsDir.
type found struct {
	content  []byte
	regular  bool
	mode     fs.FileMode
	uid, gid int
}

// maxFound bounds what is read of a file that may be anybody's.
const maxFound = 1 << 20

// find reads a file; false when it is not there. Of what is no regular file only
// that is told.
func (d rootsDir) find(name string) (found, bool, error) {
	fd, err := d.open(name, unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, false, nil
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) { // a link, a socket
		return found{}, true, nil
	}
	if err != nil {
		return found{}, false, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return found{}, err == nil, err
	}
	out := found{regular: true, mode: info.Mode().Perm()}
	if out.uid, out.gid, err = ownerOfFile(f); err != nil {
		return found{}, false, err
	}
	out.content, err = io.ReadAll(io.LimitReader(f, maxFound))
	return out, err == nil, err
}

// stage writes a file under another name and syncs it. The name is fixed, so
// that what a crash leaves is taken away the next time.
func (d rootsDir) stage(name, tmp string, content []byte, mode fs.FileMode, o *owner) error {
	if err := d.unlink(tmp); err != nil {
		return err
	}
	fd, err := d.open(tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	_, err = f.Write(content)
	if err == nil && o != nil {
		err = f.Chown(o.uid, o.gid)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (d rootsDir) rename(from, to string) error {
	at := int(d.file.Fd())
	return d.failed("rename", to, unix.Renameat(at, from, at, to))
}

// keep gives a file a second name, if that name is not taken.
func (d rootsDir) keep(name, second string) error {
	at := int(d.file.Fd())
	err := unix.Linkat(at, name, at, second, 0)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return d.failed("link", second, err)
}

// unlink is done when there is no such file.
func (d rootsDir) unlink(name string) error {
	err := unix.Unlinkat(int(d.file.Fd()), name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.failed("remove", name, err)
}

func ownerOfFile(f *os.File) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return int(st.Uid), int(st.Gid), nil
}
