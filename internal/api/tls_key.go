package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxKeyFile is far more than any private key has.
const maxKeyFile = 64 << 10

// ExposedKeyError: others than cke's user may read or replace the key of the API's
// certificate. Whoever has it is cke to its callers, and with that learns what they do
// and may answer in its place.
type ExposedKeyError struct {
	Path, Why string
	hint      string
}

func (e *ExposedKeyError) Error() string {
	return fmt.Sprintf("the key %s is not cke's alone: %s", e.Path, e.Why)
}

// Hint says what to do.
func (e *ExposedKeyError) Hint() string { return e.hint }

// loadPair reads a certificate and its key, which nobody else may touch.
func loadPair(cert, key string) (tls.Certificate, error) {
	secret, err := readPrivate(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	public, err := os.ReadFile(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(public, secret)
}

// readPrivate asks the file that it reads, so that it cannot be another one meanwhile.
func readPrivate(path string) (_ []byte, err error) {
	// Without O_NONBLOCK a named pipe would hold up the daemon's start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is not a regular file", path)
	}
	if err := ownAlone(path, info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// ownAlone refuses a file that others than root and the daemon's own user may touch.
func ownAlone(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return &ExposedKeyError{path, fmt.Sprintf("its mode is %04o", mode), "chmod 0600 " + path + "; if others could have read it, make another key"}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if me := os.Geteuid(); ok && st.Uid != 0 && int(st.Uid) != me {
		return &ExposedKeyError{path, fmt.Sprintf("it belongs to uid %d, and cke runs as uid %d", st.Uid, me), fmt.Sprintf("chown %d %s", me, path)}
	}
	return nil
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
