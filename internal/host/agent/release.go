package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

var digestRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// maxRelease bounds a binary; etcd's has 25 MiB.
const maxRelease = 1 << 30

// syncEvery is how many bytes of a transfer may be lost to a power cut, and how
// often a newer leader is looked for.
const syncEvery = 4 << 20

func checkRelease(r host.Release) error {
	switch {
	case !versionRE.MatchString(r.Version):
		return invalid("version %.80q is not of the form 3.7.3", r.Version)
	case !digestRE.MatchString(r.SHA256), !digestRE.MatchString(r.PackedSHA256):
		return invalid("a digest of release %s is not 64 hexadecimal digits", r.Version)
	case r.Size <= 0 || r.Size > maxRelease || r.PackedSize <= 0 || r.PackedSize > maxRelease:
		return invalid("release %s has %d bytes, packed %d; each may have 1 to %d", r.Version, r.Size, r.PackedSize, maxRelease)
	case r.Arch != goruntime.GOARCH:
		return refuse(host.OtherArch, "the binary is for %.20q, the machine is %s", r.Arch, goruntime.GOARCH)
	}
	return nil
}

// releaseOffset looks, without a lock: what it says may be old news, which
// putRelease notices.
func (a *Agent) releaseOffset(ctx context.Context, req host.ReleaseRequest) (host.ReleaseState, error) {
	r := req.Release
	if err := checkRelease(r); err != nil {
		return host.ReleaseState{}, err
	}
	installed, err := a.holdsRelease(ctx, r)
	if err != nil || installed {
		return host.ReleaseState{Installed: installed}, err
	}
	info, err := os.Lstat(a.layout.partial(r))
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > r.PackedSize) {
		return host.ReleaseState{}, nil
	}
	if err != nil {
		return host.ReleaseState{}, err
	}
	return host.ReleaseState{Offset: info.Size()}, nil
}

// holdsRelease: this very binary is in its place, and is the version it says.
func (a *Agent) holdsRelease(ctx context.Context, r host.Release) (bool, error) {
	info, err := os.Stat(a.layout.binary(r.Version))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != r.Size {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum, err := digestOf(a.layout.binary(r.Version))
	if err != nil || sum != r.SHA256 {
		return false, err
	}
	return a.versions.has(ctx, r.Version) == nil, ctx.Err()
}

// putReleaseVerb is a handler of its own: its body is no JSON.
func (a *Agent) putReleaseVerb() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var put host.PutReleaseRequest
		id, err := identity(req)
		if err == nil {
			err = json.Unmarshal([]byte(req.Header.Get(host.HeaderRelease)), &put)
			if err != nil {
				err = invalid("read header %s: %.200s", host.HeaderRelease, err)
			}
		}
		if err == nil {
			err = storageError(a.putRelease(req.Context(), id, put, req.Body))
		}
		if err != nil {
			answerError(w, err)
			return
		}
		a.answer(w, done{})
	})
}

// putRelease takes what is missing of a release and installs it. Transfers to
// one machine wait for each other: there is one partial file.
func (a *Agent) putRelease(ctx context.Context, id host.Identity, put host.PutReleaseRequest, body io.Reader) error {
	r := put.Release
	if err := checkRelease(r); err != nil {
		return err
	}
	if put.Offset < 0 || put.Offset > r.PackedSize {
		return invalid("offset %d is not within the %d packed bytes", put.Offset, r.PackedSize)
	}
	if err := a.admit(ctx, id); err != nil {
		return err
	}
	dir := a.layout.incoming()
	if err := mkdirsPublic(dir); err != nil {
		return a.placeError(dir, err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return a.placeError(dir, err)
	}
	defer unlock()
	if err := a.stillAdmitted(id); err != nil {
		return err
	}
	if there, err := a.holdsRelease(ctx, r); err != nil || there {
		return err
	}
	if err := a.replaceable(ctx, r); err != nil {
		return err
	}
	if err := a.sweepIncoming(filepath.Base(a.layout.partial(r))); err != nil {
		return err
	}
	if err := a.receive(ctx, id, put, body); err != nil {
		return a.placeError(dir, err)
	}
	a.reached("release:whole")
	return a.installRelease(ctx, id, r)
}

// replaceable refuses to put another binary in the place of one that is right
// and in use. One that is broken is of no use to anybody.
func (a *Agent) replaceable(ctx context.Context, r host.Release) error {
	if a.versions.has(ctx, r.Version) != nil {
		return ctx.Err()
	}
	clusters, err := a.Clusters()
	if err != nil {
		return err
	}
	for _, c := range clusters {
		u, installed, err := a.readUnit(c)
		if err != nil {
			return err
		}
		if installed && u.Version == r.Version {
			return refuse(host.InUse, "another etcd %s is installed, and the unit of cluster %s uses it", r.Version, c)
		}
	}
	return nil
}

// receive appends the body to the partial file, from the offset on. What is
// behind the offset is sent again.
func (a *Agent) receive(ctx context.Context, id host.Identity, put host.PutReleaseRequest, body io.Reader) (err error) {
	r := put.Release
	f, err := os.OpenFile(a.layout.partial(r), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	// What was written counts at the next attempt, so it is made durable.
	defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < put.Offset {
		return fmt.Errorf("the machine has %d bytes of the release, the transfer begins at %d", size, put.Offset)
	}
	if err := a.roomFor(r, put.Offset); err != nil {
		return err
	}
	if err := f.Truncate(put.Offset); err != nil {
		return err
	}
	at, err := f.Seek(put.Offset, io.SeekStart)
	if err != nil {
		return err
	}
	for at < r.PackedSize {
		n, err := io.CopyN(f, reader{ctx, body}, min(syncEvery, r.PackedSize-at))
		at += n
		if err != nil {
			return fmt.Errorf("receive release %s at byte %d of %d: %w", r.Version, at, r.PackedSize, err)
		}
		if err := errors.Join(f.Sync(), a.stillAdmitted(id)); err != nil {
			return err
		}
		a.reached("release:received")
	}
	if n, _ := io.ReadFull(body, make([]byte, 1)); n > 0 {
		return invalid("the transfer goes on behind the %d bytes that were announced", r.PackedSize)
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// sweepIncoming removes what other transfers left, but for the lock and the
// file to go on with.
func (a *Agent) sweepIncoming(keep string) error {
	found, err := names(a.layout.incoming())
	if err != nil {
		return err
	}
	for _, n := range found {
		if n == keep || n == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(a.layout.incoming(), n)); err != nil {
			return a.placeError(a.layout.incoming(), err)
		}
	}
	return nil
}

func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
