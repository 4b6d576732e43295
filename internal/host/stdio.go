package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// The intervals of HTTP/2 pings: a machine that hangs without closing its
// stream is noticed after their sum.
const (
	pingAfter   = 15 * time.Second
	pingTimeout = 15 * time.Second
)

// Stdio reaches a helper at the other end of a byte stream, such as the stdin
// and stdout of a `cke-host serve`. The first call waits for the greeting. Once
// the stream has ended every call returns an error that wraps ErrSessionEnded.
// Closing the client closes rw.
func Stdio(rw io.ReadWriteCloser, id func() Identity) *Client {
	s := NewSession(rw)
	return NewClient(s, id, s.Close)
}

// Session is HTTP/2 (RFC 9113, prior knowledge) with one helper over one byte
// stream. A Transport of its own would dial once for each of the requests that
// come before the first connection stands, and fail those that find the stream
// taken.
type Session struct {
	conn      *streamConn
	transport *http.Transport

	mu     sync.Mutex
	greets Greeting
	client *http.ClientConn
	ended  error // sticky
}

// NewSession speaks over rw, and owns it.
func NewSession(rw io.ReadWriteCloser) *Session {
	s := &Session{conn: newStreamConn(rw, rw, rw.Close)}
	s.transport = &http.Transport{
		DialContext: s.dial,
		// Prior knowledge: only unencrypted HTTP/2 is on.
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	s.transport.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// Greet waits for the helper's greeting and returns it, at once if it came
// before. Its error is that of a session over which nothing can be sent any
// more; a *NoGreetingError when nothing ever could.
func (s *Session) Greet(ctx context.Context) (Greeting, error) {
	_, err := s.connect(ctx)
	return s.greets, err
}

// RoundTrip waits for the greeting with the first request and shares the
// connection with all others.
func (s *Session) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := s.connect(req.Context())
	if err != nil {
		return nil, err
	}
	return c.RoundTrip(req)
}

// Close ends the session, and with it the requests under way.
func (s *Session) Close() error { return s.conn.Close() }

func (s *Session) connect(ctx context.Context) (*http.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && s.client.Err() != nil {
		s.client, s.ended = nil, fmt.Errorf("%w: %w", ErrSessionEnded, s.client.Err())
	}
	if s.ended != nil {
		return nil, s.ended
	}
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.transport.NewClientConn(ctx, "http", "stdio:1")
	if err != nil {
		return nil, err
	}
	s.client = c
	return c, nil
}

// dial is called once, by connect, which holds the lock.
func (s *Session) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() }) // unblocks the read below
	var err error
	s.greets, err = awaitGreeting(s.conn)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		s.ended = fmt.Errorf("%w: %w", ErrSessionEnded, err)
		return nil, errors.Join(s.ended, s.conn.Close())
	}
	return s.conn, nil
}
