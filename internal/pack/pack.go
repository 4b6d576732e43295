// Package pack makes a program small for its way to a machine, and whole again
// there (zstd, RFC 8878). It promises that unpacking needs little memory and
// never yields more than was announced, whatever it is fed.
package pack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// window is how far back a packed stream may refer: the memory unpacking takes.
const window = 8 << 20

// ErrSize says that a packed stream holds more or less than was announced.
var ErrSize = errors.New("the packed stream does not hold what was announced")

// Pack writes what r holds to w, packed, until r or ctx ends. It favours speed:
// an etcd takes a fraction of a second.
func Pack(ctx context.Context, w io.Writer, r io.Reader) error {
	e, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window/2),
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	_, err = io.Copy(e, reader{ctx, r})
	return errors.Join(err, e.Close())
}

// Unpack writes what a packed stream holds to w. It stops, with ErrSize, as soon
// as that is not exactly size bytes.
func Unpack(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	d, err := zstd.NewReader(reader{ctx, r}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer d.Close()
	n, err := io.Copy(w, io.LimitReader(d, size+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("unpack: %w", err)
	case n != size:
		return ErrSize
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
