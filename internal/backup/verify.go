package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// ErrDamaged is wrapped by the error of a snapshot that is not what etcd sent:
// cut short, changed on the way, or not a snapshot at all.
var ErrDamaged = errors.New("the snapshot is damaged")

// sector is what the size of a bbolt database is a multiple of; etcd recognises
// the SHA-256 behind it by what is left over (etcdutl/v3/snapshot, hasChecksum).
const sector = 512

// checkSum reads the file back and compares it with its last 32 bytes, the
// SHA-256 of all before (etcd server/etcdserver/api/v3rpc/maintenance.go).
func checkSum(ctx context.Context, f *os.File, size int64) error {
	body := size - sha256.Size
	if body < sector || body%sector != 0 {
		return fmt.Errorf("%w: %d bytes are not a database followed by its SHA-256", ErrDamaged, size)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, untilDone{ctx, io.NewSectionReader(f, 0, body)}); err != nil {
		return fmt.Errorf("read backup back: %w", err)
	}
	want := make([]byte, sha256.Size)
	if _, err := f.ReadAt(want, body); err != nil {
		return fmt.Errorf("read backup back: %w", err)
	}
	if got := hash.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its SHA-256 is %x, not %x as etcd says", ErrDamaged, got, want)
	}
	return nil
}

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// inspect walks the database's pages and then asks etcd's own check, the one of
// `etcdutl snapshot status`, which opens the file read-only and reads all of it.
func inspect(f *os.File, size int64) (res Result, err error) {
	body, err := syscall.Mmap(int(f.Fd()), 0, int(size-sha256.Size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return Result{}, fmt.Errorf("map backup: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Munmap(body)) }()
	// A sector that cannot be read faults in mapped memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			res, err = Result{}, fmt.Errorf("%w: check it: %v", ErrDamaged, p)
		}
	}()
	if err := checkPages(body); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	status, err := snapshot.NewV3(nil).Status(f.Name()) // the logger is for Save and Restore
	if err != nil {
		return Result{}, fmt.Errorf("%w: check it: %w", ErrDamaged, err)
	}
	return Result{Revision: status.Revision, Keys: status.TotalKey, Hash: status.Hash}, nil
}
