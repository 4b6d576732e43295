package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cke/internal/host"
)

var errClosed = errors.New("the connection is closed: the machine is in no cluster any more, or cke ends")

// link is the way to one machine: it lends the connection there is, and makes
// another when that one has ended. It is the RoundTripper below a host.Client.
type link struct {
	o       Options
	helpers *helpers
	to      access

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the attempts and the connections

	mu      sync.Mutex
	closed  bool
	conn    *conn
	attempt *attempt // under way
	// failed is how the last attempt ended; the next one is not before next.
	failed error
	next   time.Time
	wait   time.Duration
	lost   bool // it was a connection that had stood
}

// attempt is one try to connect, shared by all who wait for it.
type attempt struct {
	stage atomic.Pointer[string]
	done  chan struct{} // closed when conn and err are final
	conn  *conn
	err   error
}

func newLink(o Options, h *helpers, to access) *link {
	l := &link{o: o, helpers: h, to: to}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// RoundTrip sends a request over the connection. One that was certainly not
// sent, because the connection had ended before, goes over the next.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		c, err := l.connected(req.Context())
		if err != nil {
			return nil, err
		}
		if _, err := c.session.Greet(req.Context()); err != nil {
			if req.Context().Err() != nil {
				return nil, req.Context().Err()
			}
			c.end(err)
			continue
		}
		done := c.use()
		resp, err := c.session.RoundTrip(req)
		if err != nil {
			done()
			return nil, c.because(req.Context(), err)
		}
		resp.Body = &body{ReadCloser: resp.Body, done: done}
		return resp, nil
	}
}

// body keeps the connection in use until the answer is read.
type body struct {
	io.ReadCloser
	done func()
}

func (b *body) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

// connected returns the connection there is, or waits for one, no longer than
// ctx. The attempt itself goes on without the caller.
func (l *link) connected(ctx context.Context) (*conn, error) {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return nil, errClosed
	case l.conn != nil && l.conn.alive():
		defer l.mu.Unlock()
		return l.conn, nil
	case l.conn != nil:
		l.ended()
	}
	if pause := time.Until(l.next); l.attempt == nil {
		if pause > 0 && (!l.lost || pause > l.o.clock.first) {
			defer l.mu.Unlock()
			return nil, &host.UnreachableError{Err: l.failed, Next: l.next}
		}
		l.begin(pause)
	}
	a := l.attempt
	l.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to %s: %s: %w", l.to, *a.stage.Load(), ctx.Err())
	}
}

// ended looks at a connection that is no more. One that did not last counts as
// an attempt that failed, or it would be made again and again; the first time
// that is so short a wait that callers wait too.
func (l *link) ended() {
	c := l.conn
	l.conn = nil
	if c.lived >= l.o.clock.most {
		l.wait, l.next = 0, time.Time{}
		return
	}
	l.fail(c.began.Add(c.lived), c.why())
	l.lost = true
}

func (l *link) fail(at time.Time, err error) {
	l.lost = false
	l.wait = min(max(2*l.wait, l.o.clock.first), l.o.clock.most)
	var t *host.TroubleError
	if errors.As(err, &t) {
		l.wait = l.o.clock.most // a person has to act first
	}
	l.failed, l.next = err, at.Add(l.wait)
}

// begin starts an attempt after a pause; the caller holds the lock.
func (l *link) begin(pause time.Duration) {
	a := &attempt{done: make(chan struct{})}
	a.at("connecting")
	l.attempt = a
	l.wg.Go(func() {
		var c *conn
		var err error
		select {
		case <-time.After(pause):
			c, err = l.connect(l.ctx, a.at)
		case <-l.ctx.Done():
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case l.closed:
			if c != nil {
				c.end(errClosed)
			}
			a.err = errClosed
		case err != nil:
			l.fail(time.Now(), err)
			a.err = &host.UnreachableError{Err: err, Next: l.next}
		default:
			l.conn, a.conn = c, c
		}
		l.attempt = nil
		close(a.done)
	})
}

func (a *attempt) at(stage string) { a.stage.Store(&stage) }

// retry forgets the last failure.
func (l *link) retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait, l.next = 0, time.Time{}
}

// close ends the connection and returns when nothing of it is left.
func (l *link) close() error {
	l.mu.Lock()
	l.closed = true
	if l.conn != nil {
		l.conn.end(errClosed)
	}
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
	return nil
}
