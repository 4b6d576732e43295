package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
)

// The measure of a disk: as many writes as a percentile takes, so that one
// hiccup is not held against it, and an end even when the disk hangs. Where every
// single one was quick fewer will do, for a founding waits for them.
const (
	fsyncMost   = 100
	fsyncEnough = 20
	fsyncSoon   = 25 * time.Millisecond // after so long, if each took less than
	fsyncQuick  = 10 * time.Millisecond
	fsyncLong   = 500 * time.Millisecond
	// A shared disk may stand still for seconds and be fit for whoever allows that much:
	// the limit is the spec's. Who asks waits 10 s for all that is measured.
	fsyncHangs = 6 * time.Second
)

// probeName is fixed, so that what a crash leaves is taken away the next time.
const probeName = ".fsync-probe"

// probeFile is what is measured; os.File is one.
type probeFile interface {
	WriteAt(b []byte, off int64) (int, error)
	Sync() error
	Close() error
}

// probeFsync measures how long small writes to a directory's file system take
// to reach the disk. Nothing of it stays.
func probeFsync(ctx context.Context, dir string) (cluster.Fsync, error) {
	if err := mkdirs(dir); err != nil {
		return cluster.Fsync{}, fmt.Errorf("make the data directory: %w", err)
	}
	path := filepath.Join(dir, probeName)
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_TRUNC|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return cluster.Fsync{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	// Without a name it goes with the process, however that ends.
	if err := remove(path); err != nil {
		return cluster.Fsync{}, errors.Join(err, f.Close())
	}
	// etcd writes into a log that was given its space before.
	if err := unix.Fallocate(fd, 0, 0, fsyncMost*maxProbe); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return cluster.Fsync{}, errors.Join(&os.PathError{Op: "allocate", Path: path, Err: err}, f.Close())
	}
	return inTime(ctx, dataSync{f})
}

// dataSync syncs as etcd syncs its log: the data, not the times.
type dataSync struct{ *os.File }

func (f dataSync) Sync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// inTime gives up waiting for a write that does not end; it cannot be ended. It
// closes the file when the last one has.
func inTime(ctx context.Context, f probeFile) (cluster.Fsync, error) {
	type result struct {
		fsync cluster.Fsync
		err   error
	}
	done := make(chan result, 1)
	ctx, cancel := context.WithTimeout(ctx, fsyncHangs)
	go func() {
		defer cancel()
		s, err := measureFsync(ctx, f)
		done <- result{s, errors.Join(err, f.Close())}
	}()
	select {
	case r := <-done:
		return r.fsync, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done: // it ended its context itself
		return r.fsync, r.err
	default:
		return cluster.Fsync{}, fmt.Errorf("a small write has not reached the disk after %s", fsyncHangs)
	}
}

// maxProbe is the largest write: etcd's are of a few kilobytes.
const maxProbe = 8 << 10

func measureFsync(ctx context.Context, f probeFile) (cluster.Fsync, error) {
	block := make([]byte, maxProbe)
	for i := range block {
		block[i] = byte(i*i + i>>8) // zeros might never be written
	}
	took := make([]time.Duration, 0, fsyncMost)
	begin := time.Now()
	var off int64
	var slowest time.Duration
	for len(took) < fsyncMost && ctx.Err() == nil {
		if all := time.Since(begin); all > fsyncLong || all > fsyncSoon && len(took) >= fsyncEnough && slowest < fsyncQuick {
			break
		}
		b := block[:maxProbe>>(len(took)%3)]
		at := time.Now()
		if _, err := f.WriteAt(b, off); err != nil {
			return cluster.Fsync{}, err
		}
		if err := f.Sync(); err != nil {
			return cluster.Fsync{}, fmt.Errorf("sync: %w", err)
		}
		took = append(took, time.Since(at))
		slowest = max(slowest, took[len(took)-1])
		off += int64(len(b))
	}
	return percentiles(took), nil
}

// percentiles are by nearest rank: with fewer than 100 values p99 is the largest.
func percentiles(took []time.Duration) cluster.Fsync {
	if len(took) == 0 {
		return cluster.Fsync{}
	}
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] }
	return cluster.Fsync{Count: len(took), P50: rank(50), P99: rank(99), Max: took[len(took)-1]}
}
