package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// No flag of etcd's protects an empty data directory: as a founder a wiped
// member would found an empty cluster, and otherwise rejoin as a voter that
// forgot its votes. So the machine itself remembers, on the root disk, which
// members were started here, and starts them on nothing but their own data.

// seal is that memory, one per member. It is written before the first start,
// when the directory is empty, and sealed once the member has its WAL.
type seal struct {
	Cluster string           `json:"cluster"`
	Member  cluster.MemberID `json:"member"`
	Sealed  bool             `json:"sealed"`
	// OwnMount: the data root was a file system of its own.
	OwnMount bool `json:"own_mount"`
}

// mark is the file in a data directory that says whose it is.
type mark struct {
	Cluster string           `json:"cluster"`
	Member  cluster.MemberID `json:"member"`
}

const markName = "cke-member.json"

// dirState is what a member's directory holds.
type dirState struct {
	used bool // it holds anything
	wal  bool
	mark bool // the right one
}

func (a *Agent) readSeal(cluster string, m cluster.MemberID) (s seal, known bool, err error) {
	known, err = readJSON(a.layout.seal(cluster, m), &s)
	return s, known, err
}

func (a *Agent) inspect(c string, m cluster.MemberID) (dirState, error) {
	dir := a.layout.data(c, m)
	found, err := names(dir)
	if err != nil {
		return dirState{}, err
	}
	wal, err := hasWAL(dir)
	if err != nil {
		return dirState{}, err
	}
	k, err := readMark(filepath.Join(dir, markName))
	return dirState{used: len(found) > 0, wal: wal, mark: k == mark{c, m}}, err
}

// readMark trusts nothing: the directory is the member's own user's, who may
// have put a link, a pipe or any amount of data there. What is no mark names
// nobody; one that the disk does not give out may be there all the same.
func readMark(path string) (mark, error) {
	const limit = 4096
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return mark{}, diskError(&fs.PathError{Op: "open", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }() // nothing was written
	var k mark
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return mark{}, diskError(err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil || json.Unmarshal(b, &k) != nil {
		return mark{}, diskError(err)
	}
	return k, nil
}

// diskError is what says something of the disk and nothing of what is on it: a
// failed read, and the file system's own checks.
func diskError(err error) error {
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) {
		return err
	}
	return nil
}

// hasWAL: etcd makes the directory under another name and renames it, so that
// where it is, it is whole.
func hasWAL(dir string) (bool, error) {
	files, err := names(filepath.Join(dir, "member", "wal"))
	if errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".wal") {
			return true, nil
		}
	}
	return false, err
}

// allowStart is the guard. It returns the member's seal, having begun one when
// this is a first start.
func (a *Agent) allowStart(u cluster.Unit) (seal, error) {
	s, known, err := a.readSeal(u.Cluster, u.Member)
	if err != nil {
		return seal{}, err
	}
	if known {
		if where, err := a.notMounted(s); err != nil {
			return seal{}, err
		} else if where != "" {
			return seal{}, refuse(host.NotMounted, "%s was a file system of its own when member %s started first, and is not one now: its disk is not mounted", where, u.Member)
		}
	}
	d, err := a.inspect(u.Cluster, u.Member)
	if err != nil {
		return seal{}, err
	}
	switch {
	case s.Sealed && !(d.wal && d.mark):
		return seal{}, refuse(host.DataLost, "member %s was started here before and its data is gone from %s", u.Member, a.layout.data(u.Cluster, u.Member))
	case s.Sealed, known && d.wal:
		return s, nil
	case !known && d.used:
		return seal{}, refuse(host.ForeignData, "%s holds data, and member %s was never started here", a.layout.data(u.Cluster, u.Member), u.Member)
	case u.Founding == nil:
		return seal{}, refuse(host.NotFounding, "member %s was never started and its unit does not say how it enters the cluster", u.Member)
	}
	if err := a.allowFounding(u); err != nil || known {
		return s, err
	}
	return a.beginSeal(u)
}

func (a *Agent) beginSeal(u cluster.Unit) (seal, error) {
	if err := errors.Join(mkdirs(a.layout.host()), mkdirs(a.layout.members(u.Cluster))); err != nil {
		return seal{}, err
	}
	own, err := a.ownMount(u.Cluster)
	if err != nil {
		return seal{}, err
	}
	s := seal{Cluster: u.Cluster, Member: u.Member, OwnMount: own}
	if err := writeJSON(a.layout.seal(u.Cluster, u.Member), s); err != nil {
		return seal{}, err
	}
	a.reached("seal:begun")
	return s, nil
}

// finishSeal is called with the WAL in place. Killed before its end, it is
// repeated: the member is not sealed yet.
func (a *Agent) finishSeal(ctx context.Context, u cluster.Unit, s seal) error {
	dir := a.layout.data(s.Cluster, s.Member)
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return err
	}
	if err := writeJSON(filepath.Join(dir, markName), mark{s.Cluster, s.Member}); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	a.reached("seal:marked")
	if err := a.runtime.keep(ctx, u); err != nil {
		return err
	}
	s.Sealed = true
	if err := writeJSON(a.layout.seal(s.Cluster, s.Member), s); err != nil {
		return err
	}
	a.reached("seal:sealed")
	return nil
}

// notMounted names the data root when its own file system is absent.
func (a *Agent) notMounted(s seal) (string, error) {
	if !s.OwnMount {
		return "", nil
	}
	own, err := a.ownMount(s.Cluster)
	if err != nil || own {
		return "", err
	}
	return a.layout.dataRoot(), nil
}

// ownMount says whether data lies on another mount than the agent's memory.
func (a *Agent) ownMount(cluster string) (bool, error) {
	data, err := mountOf(a.layout.members(cluster))
	if err != nil {
		return false, err
	}
	memory, err := mountOf(a.layout.host())
	return data != memory, err
}

// mount identifies a mounted file system.
type mount struct {
	major, minor uint32
	id           uint64 // zero before Linux 5.8
}

// mountOf is the mount of a path, or of its nearest parent that is there.
func mountOf(path string) (mount, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		return mountOf(filepath.Dir(path))
	}
	if err != nil {
		return mount{}, fmt.Errorf("find the mount of %s: %w", path, err)
	}
	m := mount{major: st.Dev_major, minor: st.Dev_minor}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		m.id = st.Mnt_id
	}
	return m, nil
}

func refuse(kind host.GuardKind, format string, args ...any) error {
	return &host.GuardError{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}
