package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A key file is two lines: a header that tells a person what it is and carries
// the key's id, so that a damaged file is noticed, and 32 bytes in base64.
const (
	headerStart = "cke-seal-key-v1 "
	headerEnd   = " SECRET: opens CKE's certificate authorities. Keep a copy in a safe place."

	maxFileSize = 4096
)

// LoadKey reads a key file. It refuses a file that others than its owner may
// touch, and content that is not exactly a key. errors.Is(err, fs.ErrNotExist)
// holds when there is none.
func LoadKey(path string) (*Key, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("read seal key %s: %w", path, err)
	}
	k, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("read seal key %s: %w; put the right file there from your copy", path, err)
	}
	return k, nil
}

func readPrivate(path string) (_ string, err error) {
	// Without O_NONBLOCK a named pipe would hold up the daemon's start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", cause(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&^0o600 != 0 {
		return "", fmt.Errorf("mode %04o is wider than 0600; run: chmod 0600 %s", mode, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	return string(b), err
}

func parse(text string) (*Key, error) {
	errContent := errors.New("it is not a CKE seal key")
	header, rest, ok := strings.Cut(text, "\n")
	id, found := strings.CutPrefix(header, headerStart)
	if !ok || !found || len(text) > maxFileSize {
		return nil, errContent
	}
	id, _, _ = strings.Cut(id, " ")
	secret, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(rest))
	if err != nil || len(secret) != keySize {
		return nil, errors.New("it is damaged: the second line is not 32 bytes in base64")
	}
	k, err := newKey(secret)
	if err != nil {
		return nil, err
	}
	if k.ID() != id {
		return nil, fmt.Errorf("it is damaged: the header says key %q, the content is another", id)
	}
	return k, nil
}

// CreateKey makes a new random key and writes it to path, which must not exist
// (errors.Is(err, fs.ErrExist) holds when it does). Missing parent directories
// are made with mode 0700. When it returns, the file is complete and on disk;
// before, there is none under this name, whenever the machine stops.
func CreateKey(path string) (*Key, error) {
	secret := make([]byte, keySize)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("create seal key %s: %w", path, err)
	}
	k, err := newKey(secret)
	if err != nil {
		return nil, err
	}
	text := headerStart + hex.EncodeToString(k.id[:]) + headerEnd + "\n" +
		base64.StdEncoding.EncodeToString(secret) + "\n"
	if err := writeNew(path, text); err != nil {
		return nil, fmt.Errorf("create seal key %s: %w", path, err)
	}
	return k, nil
}

// writeNew links a finished file to its name: unlike a rename this fails when
// the name is taken, and unlike O_EXCL on the name itself it never shows a half
// written file.
func writeNew(path, text string) (err error) {
	dir := filepath.Dir(path)
	if err := makeDirs(dir); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return cause(err)
	}
	return syncDir(dir)
}

// makeDirs is MkdirAll whose directories are still there after a power cut.
func makeDirs(dir string) error {
	var parents []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, p := range parents {
		if err := syncDir(p); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cause leaves out the path where the message names it already.
func cause(err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Err
	case errors.As(err, &linkErr):
		return linkErr.Err
	}
	return err
}
