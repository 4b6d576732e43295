package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/pack"
)

const packedSuffix = ".zst"

// prefix begins the names of a release's packed forms; the digest of the binary
// follows.
func prefix(r cluster.Release) string { return r.Version + "-" + r.Arch + "-" }

// pack fills in one packing: from the cache if a form of this very binary is
// there and whole.
func (s *Shelf) pack(ctx context.Context, r cluster.Release, path string, o *once) {
	defer close(o.done)
	if o.err = os.MkdirAll(s.o.Cache, 0o700); o.err != nil {
		return
	}
	sum, size, err := sumFile(path)
	if err != nil {
		o.err = err
		return
	}
	o.path = filepath.Join(s.o.Cache, prefix(r)+sum+packedSuffix)
	o.info = host.Release{Version: r.Version, Arch: r.Arch, SHA256: sum, Size: size}
	if s.whole(ctx, o) {
		return
	}
	if o.err = s.write(ctx, path, o); o.err != nil {
		return
	}
	s.o.Log.Info("release packed", "version", r.Version, "arch", r.Arch, "bytes", size, "packed_bytes", o.info.PackedSize)
	o.err = s.sweep(func(name string) bool {
		return strings.HasPrefix(name, prefix(r)) && name != filepath.Base(o.path)
	})
}

// whole says whether the cached form unpacks to the binary, and measures it.
func (s *Shelf) whole(ctx context.Context, o *once) bool {
	f, err := os.Open(o.path)
	if err != nil {
		return false
	}
	defer f.Close()
	in := newSummed(f)
	out := newSummed(nil)
	if err := pack.Unpack(ctx, out.h, in, o.info.Size); err != nil || out.sum() != o.info.SHA256 {
		return false
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return false
	}
	o.info.PackedSHA256, o.info.PackedSize = in.sum(), in.n
	return true
}

// write packs the binary; the form gets its name when it is whole and on disk.
func (s *Shelf) write(ctx context.Context, path string, o *once) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(s.o.Cache, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(to.Name()))
		}
	}()
	in, out := newSummed(from), newSummed(nil)
	err = pack.Pack(ctx, io.MultiWriter(to, out.h), in)
	if err == nil {
		err = to.Sync()
	}
	info, statErr := to.Stat()
	err = errors.Join(err, statErr, to.Close())
	if err != nil {
		return err
	}
	if in.sum() != o.info.SHA256 {
		return fmt.Errorf("%s changes while it is read", path)
	}
	o.info.PackedSHA256, o.info.PackedSize = out.sum(), info.Size()
	return os.Rename(to.Name(), o.path)
}

// Clean removes from the cache what no binary in the releases directory is a
// reason for any more.
func (s *Shelf) Clean() error {
	have := s.find()
	return s.sweep(func(name string) bool {
		for r := range have {
			if strings.HasPrefix(name, prefix(r)) && strings.HasSuffix(name, packedSuffix) {
				return false
			}
		}
		return true
	})
}

func (s *Shelf) sweep(gone func(name string) bool) error {
	found, err := os.ReadDir(s.o.Cache)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range found {
		if !gone(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(s.o.Cache, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sumFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	in := newSummed(f)
	_, err = io.Copy(io.Discard, in)
	return in.sum(), in.n, err
}
