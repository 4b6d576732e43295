package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// ServeStdio greets as g on w and serves HTTP/2 from r and w until r ends, a write
// fails or ctx does. Requests under way are cancelled then, and have returned
// when it returns. It closes r and w where they can be closed.
func ServeStdio(ctx context.Context, r io.Reader, w io.Writer, g Greeting, h http.Handler, log *slog.Logger) error {
	if _, err := io.WriteString(w, g.line()); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	conn := newStreamConn(r, w, func() error { return errors.Join(closeIfCloser(r), closeIfCloser(w)) })
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	var gate drain
	srv := &http.Server{ //nolint:gosec // one stream of one caller: no header to wait for too long
		Handler:   gate.wrap(h),
		Protocols: new(http.Protocols),
		// A release that is sent over a thin line must not hold every other request
		// up: small frames let those in between, and only so much is under way at
		// once. At 100 ms there and back it still goes at 2.5 MiB/s.
		HTTP2:    &http.HTTP2Config{MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerStream: 256 << 10},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	srv.Protocols.SetUnencryptedHTTP2(true)
	err := srv.Serve(&oneConn{conn: conn, left: 1})
	gate.shut()
	if !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// drain lets requests through until it is shut. A handler's goroutine may
// start after its connection has ended; it must not find a server that is gone.
type drain struct {
	mu     sync.RWMutex // held for reading by every request
	closed bool
}

func (d *drain) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		d.mu.RLock()
		defer d.mu.RUnlock()
		if !d.closed {
			h.ServeHTTP(w, req)
		}
	})
}

// shut returns when every request has.
func (d *drain) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

func closeIfCloser(v any) error {
	if c, ok := v.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// oneConn is a listener with one connection; it ends with it.
type oneConn struct {
	conn *streamConn
	left int
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return l.conn, nil
	}
	<-l.conn.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return streamAddr{} }
