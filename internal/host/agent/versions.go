package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cke/internal/host"
)

// versionTimeout bounds one `etcd --version` or `etcd --help`.
const versionTimeout = 10 * time.Second

// nobody is the user, and the group, of that name on every Linux.
const nobody = 65534

// Releases knows which etcd versions are installed and are what their
// directory says. A binary is run once and not again until its file changes.
type Releases struct {
	dir string
	// asNobody: a binary is looked at as the user nobody. Whoever may upload one
	// runs nothing as root by that.
	asNobody bool

	mu   sync.Mutex
	seen map[string]verdict
}

type verdict struct {
	file  fileID
	err   error    // why the binary is not that version; nil when it is
	flags []string // that it knows; nil when it does not tell
}

// fileID changes when a file's content does.
type fileID struct {
	dev, inode uint64
	mtime      int64
	size       int64
}

// NewReleases knows nothing of the directory yet.
func NewReleases(dir string) *Releases { return &Releases{dir: dir, seen: map[string]verdict{}} }

// Look runs each binary that has not been looked at, so that the first Facts
// need not wait for it.
func (v *Releases) Look(ctx context.Context) error {
	_, err := v.list(ctx)
	return err
}

// list returns the versions that are installed and right.
func (v *Releases) list(ctx context.Context) ([]string, error) {
	found, err := names(v.dir)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, n := range found {
		name, ok := strings.CutPrefix(n, "v")
		if ok && versionRE.MatchString(name) && v.has(ctx, name) == nil {
			out = append(out, name)
		}
	}
	return out, ctx.Err()
}

// has returns nil, or why a version cannot be used.
func (v *Releases) has(ctx context.Context, name string) error {
	known, err := v.look(ctx, name)
	if err != nil {
		return err
	}
	return known.err
}

func (v *Releases) look(ctx context.Context, name string) (verdict, error) {
	path := filepath.Join(v.dir, "v"+name, "etcd")
	id, err := identifyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return verdict{err: refuse(host.NoVersion, "etcd %s is not installed (%s)", name, path)}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, ok := v.seen[name]; ok && known.file == id {
		return known, nil
	}
	now := verdict{file: id, err: v.verify(ctx, path, name)}
	if now.err == nil {
		now.flags = v.flagsOf(ctx, path)
	}
	if ctx.Err() != nil {
		return verdict{}, ctx.Err() // it says nothing about the binary
	}
	v.seen[name] = now
	return now, nil
}

func (v *Releases) verify(ctx context.Context, path, name string) error {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := v.outputOf(ctx, path, "--version")
	if err != nil {
		return refuse(host.NoVersion, "%s --version: %s", path, err)
	}
	line := string(out)
	if i := strings.Index(line, "etcd Version: "); i > 0 {
		line = line[i:] // a complaint comes first
	}
	line, _, _ = strings.Cut(line, "\n")
	if says := strings.TrimPrefix(line, "etcd Version: "); says != name {
		return refuse(host.NoVersion, "%s says it is %.80q, not %s", path, says, name)
	}
	return nil
}

// outputOf runs a binary. One that was written a moment ago may still be open in
// a process that was forked meanwhile and has not executed its program yet.
func (v *Releases) outputOf(ctx context.Context, path, flag string) ([]byte, error) {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		cmd := exec.CommandContext(ctx, path, flag) //nolint:gosec // the release that layout names
		cmd.Env, cmd.Dir = []string{}, "/"
		if v.asNobody {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		var out lastBytes // of the help, part goes to stderr
		cmd.Stdout, cmd.Stderr = &out, &out
		// What it has left running may keep its output open for ever.
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); !errors.Is(err, syscall.ETXTBSY) {
			return out.b, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

func identifyFile(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileID{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileID{dev: st.Dev, inode: st.Ino, mtime: st.Mtim.Nano(), size: st.Size}, nil
}

// identifyFile's result for a file that is not there is the zero fileID.
func identifyIfThere(path string) (fileID, error) {
	id, err := identifyFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return fileID{}, nil
	}
	return id, err
}
