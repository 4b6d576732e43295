// Package backup keeps snapshots of etcd. A file that looks like a backup is
// one: it was written whole, is on the disk, carries the SHA-256 etcd gave it,
// and etcd's own check accepts it. Whatever ends a backup early (a full disk, a
// broken stream, a cancelled context, SIGKILL, loss of power) leaves none.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// LocalOptions says where backups are kept and how many.
type LocalOptions struct {
	// Dir is made, mode 0700, where it is absent.
	Dir string
	// MaxBackups is how many are kept, the new one included; at least 1.
	MaxBackups int
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Result is a backup that was made.
type Result struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	// Removed are the paths of older backups that were pruned.
	Removed []string `json:"removed,omitempty"`
	// Revision, Keys and Hash are what `etcdutl snapshot status` says.
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	Hash     uint32 `json:"hash"`
}

// WriteLocal writes a snapshot, as etcd streams it with its trailing SHA-256,
// to a new file etcd-YYYYMMDD-hhmmss.backup (UTC, mode 0600) and then removes
// the oldest beyond MaxBackups. The name says when the stream began; where a
// backup of that second exists, the next free second is taken, and nothing is
// ever overwritten. OnBytes, which may be nil, is told how many bytes have come
// so far. When ctx ends, so does the backup, as soon as r returns: r must end
// with ctx too.
//
// The file is complete once Result.Path is set. An error beside it says that
// pruning went wrong.
func WriteLocal(ctx context.Context, opts LocalOptions, r io.Reader, onBytes func(int64)) (Result, error) {
	if opts.MaxBackups < 1 {
		return Result{}, fmt.Errorf("keep %d backups: at least 1 must be kept", opts.MaxBackups)
	}
	if opts.Dir == "" {
		return Result{}, errors.New("write backup: no directory given")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	began := opts.Now().UTC()
	if err := makeDir(opts.Dir); err != nil {
		return Result{}, fmt.Errorf("make backup directory: %w", err)
	}
	f, err := newPartial(opts.Dir)
	if err != nil {
		return Result{}, err
	}
	defer f.Close() // after an fsync there is nothing left to fail
	res, err := fill(ctx, f, r, onBytes)
	if err == nil {
		res, err = publish(opts, f.Name(), began, res)
	}
	if res.Path == "" {
		// Best effort: what cannot be removed now is removed by the next backup.
		err = errors.Join(err, removeIfThere(f.Name()))
	}
	return res, err
}

// fill writes the stream to f, and checks and syncs it.
func fill(ctx context.Context, f *os.File, r io.Reader, onBytes func(int64)) (Result, error) {
	size, err := receive(ctx, f, r, onBytes)
	if err != nil {
		return Result{}, err
	}
	if err := checkSum(ctx, f, size); err != nil {
		return Result{}, err
	}
	if err := f.Sync(); err != nil {
		return Result{}, fmt.Errorf("sync backup: %w", err)
	}
	res, err := inspect(f, size)
	if err != nil {
		return Result{}, err
	}
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("write backup: %w", context.Cause(ctx))
	}
	res.Bytes = size
	return res, nil
}

// receive copies r to f until its end or that of ctx.
func receive(ctx context.Context, f *os.File, r io.Reader, onBytes func(int64)) (int64, error) {
	buf := make([]byte, 256<<10)
	var total int64
	for {
		n, err := r.Read(buf)
		if ctx.Err() != nil {
			return total, fmt.Errorf("read snapshot: %w", context.Cause(ctx))
		}
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return total, fmt.Errorf("write backup: %w", err)
			}
			total += int64(n)
			if onBytes != nil {
				onBytes(total)
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("read snapshot: %w", err)
		}
	}
}

// publish gives the partial file its name and prunes the oldest, while no other
// backup in the directory does.
func publish(opts LocalOptions, partial string, began time.Time, res Result) (Result, error) {
	unlock, err := lockDir(opts.Dir)
	if err != nil {
		return res, err
	}
	defer unlock()
	path, err := rename(partial, opts.Dir, began)
	if err != nil {
		return res, err
	}
	if err := syncDir(opts.Dir); err != nil {
		// It is there, but may not be after a loss of power: not a backup.
		return res, errors.Join(err, removeIfThere(path))
	}
	res.Path = path
	res.Removed, err = prune(opts.Dir, filepath.Base(path), opts.MaxBackups)
	return res, err
}
