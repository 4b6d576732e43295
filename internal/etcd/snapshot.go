package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// snapshotSilence is how long a member may send nothing of a snapshot that is waited
// for. One whose disk hangs answers all else, and its connection never ends.
const snapshotSilence = 30 * time.Second

// Snapshot streams the member's database followed by its SHA-256. The second
// value is the database's size in bytes when the stream began. A stream of which
// nothing comes for 30 s ends with an error.
func (c *Client) Snapshot(ctx context.Context, ep Endpoint) (io.ReadCloser, int64, error) {
	conn, err := c.conn(string(ep))
	if err != nil {
		return nil, 0, err
	}
	ctx, l := listen(ctx, ep)
	st, err := status(ctx, conn, ep)
	if err != nil {
		return nil, 0, fmt.Errorf("ask %s for its status: %w", ep, l.over(err))
	}
	snap, err := conn.SnapshotWithVersion(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("take a snapshot from %s: %w", ep, l.over(err))
	}
	return l.to(snap.Snapshot), st.DbSize, nil
}

// listener ends what it listens to when nothing comes for too long. The time in which
// nobody waits for more does not count: whoever it is passed on to may be slow.
type listener struct {
	io.ReadCloser
	ctx   context.Context
	end   context.CancelCauseFunc
	quiet *time.Timer
}

// listen begins to wait. What is done with the context it returns ends with it.
func listen(ctx context.Context, ep Endpoint) (context.Context, *listener) {
	ctx, end := context.WithCancelCause(ctx)
	silent := fmt.Errorf("%s has sent nothing for %s", ep, snapshotSilence)
	return ctx, &listener{ctx: ctx, end: end, quiet: time.AfterFunc(snapshotSilence, func() { end(silent) })}
}

// over ends it all, and says what was in the way.
func (l *listener) over(err error) error {
	l.quiet.Stop()
	if cause := context.Cause(l.ctx); cause != nil && errors.Is(l.ctx.Err(), context.Canceled) {
		err = cause
	}
	l.end(nil)
	return err
}

// to is the stream that was opened.
func (l *listener) to(r io.ReadCloser) *listener {
	l.quiet.Stop()
	l.ReadCloser = r
	return l
}

func (l *listener) Read(p []byte) (int, error) {
	l.quiet.Reset(snapshotSilence)
	n, err := l.ReadCloser.Read(p)
	l.quiet.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = l.over(err)
	}
	return n, err
}

func (l *listener) Close() error {
	l.quiet.Stop()
	l.end(nil)
	return l.ReadCloser.Close()
}
