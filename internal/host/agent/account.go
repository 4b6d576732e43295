package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cke/internal/host"
)

// serviceUser is whom members run as, and its group.
const serviceUser = "etcd"

// accountTimeout bounds one program that makes a user.
const accountTimeout = 20 * time.Second

// account is the user that members run as. It is made when it is not there, and
// never removed: files that were set aside belong to it.
type account struct {
	memory string // the file that remembers that it was made here

	mu    sync.Mutex
	known *owner
}

// accountRecord says what of the account CKE made.
type accountRecord struct {
	User  bool `json:"user"`
	Group bool `json:"group"`
}

func (a *account) get(ctx context.Context) (*owner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known != nil {
		return a.known, nil
	}
	_, noUser := user.Lookup(serviceUser)
	_, noGroup := user.LookupGroup(serviceUser)
	if noUser != nil || noGroup != nil {
		// Written first: a crash in between leaves a note too many, not too few.
		if err := writeJSON(a.memory, accountRecord{User: noUser != nil, Group: noGroup != nil}); err != nil {
			return nil, err
		}
		if err := makeAccount(ctx, noUser != nil, noGroup != nil); err != nil {
			return nil, fmt.Errorf("make user %s: %w", serviceUser, err)
		}
	}
	o, err := lookupAccount()
	if err != nil {
		return nil, err
	}
	a.known = o
	return o, nil
}

func lookupAccount() (*owner, error) {
	u, err := user.Lookup(serviceUser)
	if err != nil {
		return nil, err
	}
	g, err := user.LookupGroup(serviceUser)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err == nil && uid == 0 {
		return nil, errors.New("user " + serviceUser + " is root: members do not run as root")
	}
	return &owner{uid, gid}, err
}

// makeAccount asks systemd-sysusers, which knows all of a machine's user
// databases, or else the older programs.
func makeAccount(ctx context.Context, withUser, withGroup bool) error {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	err := run(ctx, "systemd-sysusers", "--inline",
		"g "+serviceUser+" -", "u "+serviceUser+" - \"members of etcd\" /nonexistent /usr/sbin/nologin")
	if err == nil || !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	if withGroup {
		if err := run(ctx, "groupadd", "--system", serviceUser); err != nil {
			return err
		}
	}
	if !withUser {
		return nil
	}
	return run(ctx, "useradd", "--system", "--gid", serviceUser, "--no-create-home",
		"--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "--comment", "members of etcd", serviceUser)
}

// systemPath is where the machine's own programs lie, whatever the caller's
// environment says.
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// systemProgram prepares a program of the machine's.
func systemProgram(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	for dir := range strings.SplitSeq(systemPath, ":") {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // names and arguments are this package's own
		cmd.Env = []string{"PATH=" + systemPath, "LC_ALL=C.UTF-8"}
		cmd.Dir = "/"
		return cmd, nil
	}
	return nil, fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func run(ctx context.Context, name string, args ...string) error {
	cmd, err := systemProgram(ctx, name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.300s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// The modes of directories that members have to pass. Those of a cluster are
// for members alone; those above hold other things too, and are never narrowed.
const (
	passForMembers = fs.FileMode(0o710)
	passForAll     = fs.FileMode(0o011)
)

// letPass makes directories of one cluster, innermost first, and all above them,
// below root, passable for members. Their owner stays root, so that no member can put a link
// where root is about to write.
func (o *owner) letPass(root string, dirs ...string) error {
	for _, dir := range dirs {
		if err := errors.Join(os.Chown(dir, 0, o.gid), os.Chmod(dir, passForMembers)); err != nil {
			return err
		}
	}
	return passAbove(root, dirs[len(dirs)-1])
}

// passAbove lets everyone pass the directories above one, below root.
func passAbove(root, below string) error {
	for dir := filepath.Dir(below); dir != filepath.Clean(root); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := onlyRootWrites(dir, info); err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&passForAll != passForAll {
			if err := os.Chmod(dir, mode|passForAll); err != nil {
				return err
			}
		}
	}
	return nil
}

// onlyRootWrites refuses a directory in which somebody else could put a link
// where root is about to write: a data disk's root directory that an
// administrator gave to etcd, for example.
func onlyRootWrites(dir string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("find the owner of %s: the system does not say", dir)
	}
	if mode := info.Mode().Perm(); st.Uid != 0 || mode&0o022 != 0 {
		return refuse(host.NotRoots, "%s belongs to uid %d and has mode %04o: only root may write there (chown root:root %s && chmod go-w %s)",
			dir, st.Uid, mode, dir, dir)
	}
	return nil
}

// owns says whether a file is the owner's; without an owner it always is.
func (o *owner) owns(path string) bool {
	if o == nil {
		return true
	}
	uid, gid, err := ownerOf(path)
	return err == nil && uid == o.uid && gid == o.gid
}
