package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is what fits into sockaddr_un with its final NUL (unix(7)).
const maxSocketPath = 107

// ListenUnix listens on a unix socket that only this user may use: it has mode
// 0600 from its first moment. What a dead daemon left behind is removed; a
// socket somebody listens on, or a file that is no socket, is left alone and
// refused. Close removes the socket, unless it is another's by then.
func ListenUnix(path string) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, a unix socket's may have %d; choose a shorter one",
			path, len(path), maxSocketPath)
	}
	// Its own directory is made, as for /run/cke/cke.sock after a boot.
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// listenUnix binds in a directory nobody else can enter and links the socket,
// ready and with its mode, to its place. A link never replaces anything, so of
// two daemons only one gets the place.
func listenUnix(path string) (*unixListener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".cke-sock-")
	if err != nil {
		return nil, err
	}
	// Left behind, an empty directory harms nobody.
	defer func() { _ = os.RemoveAll(dir) }()
	fd, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	// Through the descriptor the address is short wherever dir lies.
	addr := &net.UnixAddr{Net: "unix", Name: "/proc/self/fd/" + strconv.Itoa(int(fd.Fd())) + "/s"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	made := filepath.Join(dir, "s")
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	own, err := os.Lstat(made)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := place(made, path, filepath.Join(dir, "old")); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &unixListener{UnixListener: l, path: path, own: own}, nil
}

// place links a socket to its path. What is there is taken aside first and
// looked at again, so that a daemon that comes up meanwhile is not lost.
func place(made, path, aside string) error {
	for range 10 {
		err := os.Link(made, path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := checkStale(path); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := os.Rename(path, aside); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := checkStale(aside); err != nil {
			return errors.Join(err, os.Link(aside, path))
		}
		if err := os.Remove(aside); err != nil {
			return err
		}
	}
	return errors.New("others keep taking the place")
}

// checkStale succeeds for a socket nobody listens on.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is there; move it away or choose another path")
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	c, err := net.DialTimeout("unix", short, 2*time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(errors.New("another daemon listens there"), c.Close())
}

type unixListener struct {
	*net.UnixListener
	path string
	own  os.FileInfo
	once sync.Once
}

// Addr is where the socket was placed, not where it was bound.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// Close stops listening and removes the socket.
func (l *unixListener) Close() error {
	var err error
	l.once.Do(func() {
		if now, serr := os.Lstat(l.path); serr == nil && os.SameFile(now, l.own) {
			err = os.Remove(l.path)
		}
		err = errors.Join(err, l.UnixListener.Close())
	})
	return err
}
