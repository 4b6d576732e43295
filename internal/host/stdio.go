package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// magic is the first line a serving helper writes: whatever a login shell
// printed before it is noise, not protocol. The number is the protocol's.
const magic = "cke-host serves http2 1"

// noiseLimit bounds what is read while looking for the magic line.
const noiseLimit = 64 << 10

// The intervals of HTTP/2 pings: a machine that hangs without closing its
// stream is noticed after their sum.
const (
	pingAfter   = 15 * time.Second
	pingTimeout = 15 * time.Second
)

// Stdio reaches a helper at the other end of a byte stream, such as the stdin
// and stdout of a `cke-host serve`, with HTTP/2 (RFC 9113, prior knowledge).
// The first call waits for the magic line. Once the stream has ended every call
// returns an error that wraps ErrSessionEnded. Closing the client closes rw.
func Stdio(rw io.ReadWriteCloser, id func() Identity) *Client {
	s := &session{conn: newStreamConn(rw, rw, rw.Close)}
	t := &http.Transport{
		DialContext: s.dial,
		// Prior knowledge: only unencrypted HTTP/2 is on.
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	s.transport = t
	return NewClient(s, id, s.conn.Close)
}

// session is the one connection over the stream. A Transport of its own would
// dial once for each of the requests that come before the first connection
// stands, and fail those that find the stream taken.
type session struct {
	conn      *streamConn
	transport *http.Transport

	mu     sync.Mutex
	client *http.ClientConn
	ended  error // sticky
}

// RoundTrip greets with the first request and shares the connection with all
// others.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := s.connect(req.Context())
	if err != nil {
		return nil, err
	}
	return c.RoundTrip(req)
}

func (s *session) connect(ctx context.Context) (*http.ClientConn, error) {
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
func (s *session) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() }) // unblocks the read below
	noise, err := awaitMagic(s.conn)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		s.ended = handshakeError(noise, err)
		return nil, errors.Join(s.ended, s.conn.Close())
	}
	return s.conn, nil
}

// awaitMagic reads up to and including the magic line, byte by byte so that
// nothing behind it is taken, and returns what stood before it.
func awaitMagic(r io.Reader) (noise []byte, err error) {
	want := []byte(magic + "\n")
	one := make([]byte, 1)
	for len(noise) < noiseLimit {
		if _, err := io.ReadFull(r, one); err != nil {
			return noise, err
		}
		if noise = append(noise, one[0]); bytes.HasSuffix(noise, want) {
			return noise[:len(noise)-len(want)], nil
		}
	}
	return noise, fmt.Errorf("no greeting within %d bytes", noiseLimit)
}

func handshakeError(noise []byte, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = errors.New("the stream ends before the helper's greeting")
	}
	const shown = 500
	said := bytes.TrimSpace(noise)
	if len(said) == 0 {
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	if len(said) > shown {
		said = said[len(said)-shown:]
	}
	return fmt.Errorf("%w: %w; the other end says %q", ErrSessionEnded, err, said)
}
