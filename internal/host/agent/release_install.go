package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"cke/internal/host"
	"cke/internal/pack"
)

// madeName marks a version's directory as one that CKE made: purge removes no
// other, for an administrator, or a cke on the same machine, may keep binaries
// of their own beside it.
const madeName = "cke-release.json"

// installRelease turns the whole partial file into the binary in its place.
// Whatever is not what was announced is thrown away, to be sent again.
func (a *Agent) installRelease(ctx context.Context, id host.Identity, r host.Release) error {
	partial, fresh := a.layout.partial(r), a.layout.partial(r)+".etcd"
	err := a.unpackRelease(ctx, r, partial, fresh)
	var wrong *brokenError
	if errors.As(err, &wrong) {
		return errors.Join(err, remove(partial), remove(fresh))
	}
	if err != nil {
		return a.placeError(a.layout.incoming(), err)
	}
	a.reached("release:unpacked")
	if err := a.versions.verify(ctx, fresh, r.Version); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.Join(err, remove(partial), remove(fresh))
	}
	if err := a.stillAdmitted(id); err != nil {
		return err
	}
	to := a.layout.binary(r.Version)
	if err := a.place(r, fresh, to); err != nil {
		return a.placeError(filepath.Dir(to), err)
	}
	a.log.Info("install release", "version", r.Version, "sha256", r.SHA256)
	a.reached("release:installed")
	return a.sweepIncoming("")
}

// place renames the checked binary into its version's directory.
func (a *Agent) place(r host.Release, fresh, to string) error {
	dir := filepath.Dir(to)
	if err := mkdirsPublic(dir); err != nil {
		return err
	}
	found, err := names(dir)
	if err != nil {
		return err
	}
	if len(found) == 0 || slices.Contains(found, madeName) {
		if err := writeJSON(filepath.Join(dir, madeName), r); err != nil {
			return err
		}
		a.reached("release:marked")
	}
	if err := os.Rename(fresh, to); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// brokenError: the bytes are not those that were announced.
type brokenError struct{ error }

// unpackRelease checks the packed bytes first and the binary while it is written.
func (a *Agent) unpackRelease(ctx context.Context, r host.Release, partial, fresh string) (err error) {
	sum, err := digestOf(partial)
	if err != nil {
		return err
	}
	if sum != r.PackedSHA256 {
		return &brokenError{fmt.Errorf("the bytes received of release %s have SHA-256 %s, not %s", r.Version, sum, r.PackedSHA256)}
	}
	in, err := os.Open(partial)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(fresh, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	disk := &diskWriter{w: out}
	if err := pack.Unpack(ctx, io.MultiWriter(disk, h), in, r.Size); err != nil {
		if disk.err != nil || ctx.Err() != nil {
			return err
		}
		return &brokenError{fmt.Errorf("unpack release %s: %w", r.Version, err)}
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != r.SHA256 {
		return &brokenError{fmt.Errorf("the binary of release %s has SHA-256 %s, not %s", r.Version, sum, r.SHA256)}
	}
	if err := out.Chmod(0o755); err != nil {
		return err
	}
	return out.Sync()
}

// diskWriter remembers that it was the disk that failed.
type diskWriter struct {
	w   io.Writer
	err error
}

func (d *diskWriter) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		d.err = err
	}
	return n, err
}

// roomFor refuses a transfer that cannot end well: what is missing of the packed
// form and the binary itself must fit beside each other.
func (a *Agent) roomFor(r host.Release, offset int64) error {
	need := r.PackedSize - offset + r.Size
	free, err := a.free(a.layout.incoming())
	if err != nil || free >= need {
		return err
	}
	return refuse(host.NoSpace, "%s has %s free, etcd %s needs %s",
		mountPoint(a.layout.incoming()), mib(free), r.Version, mib(need))
}

// placeError says which file system is full or cannot be written to.
func (a *Agent) placeError(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		free, fErr := a.free(dir)
		if fErr != nil {
			return errors.Join(err, fErr)
		}
		return refuse(host.NoSpace, "%s has no room for etcd (%s free): %s", mountPoint(dir), mib(free), err)
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return refuse(host.ReadOnly, "%s cannot be written to: %s", dir, err)
	}
	return err
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// mountPoint is the topmost directory on the file system of a path.
func mountPoint(path string) string {
	here, err := mountOf(path)
	for err == nil && path != filepath.Dir(path) {
		var above mount
		if above, err = mountOf(filepath.Dir(path)); err != nil || above != here {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}

// mkdirsPublic makes a directory that everyone may look into, whatever the umask,
// with its parents, and each entry durable.
func mkdirsPublic(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := mkdirsPublic(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // etcd's own user runs what lies here
		return err
	}
	return syncDir(filepath.Dir(dir))
}
