package host

import (
	"io"
	"net"
	"sync"
	"time"
)

// streamConn is a net.Conn over two byte streams. It has no deadlines: HTTP/2
// keeps its own time.
type streamConn struct {
	r      io.Reader
	w      io.Writer
	close  func() error
	once   sync.Once
	closed chan struct{}
	err    error
}

func newStreamConn(r io.Reader, w io.Writer, closeBoth func() error) *streamConn {
	return &streamConn{r: r, w: w, close: closeBoth, closed: make(chan struct{})}
}

func (c *streamConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *streamConn) Write(b []byte) (int, error) { return c.w.Write(b) }

func (c *streamConn) Close() error {
	c.once.Do(func() {
		c.err = c.close()
		close(c.closed)
	})
	return c.err
}

func (c *streamConn) LocalAddr() net.Addr              { return streamAddr{} }
func (c *streamConn) RemoteAddr() net.Addr             { return streamAddr{} }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

type streamAddr struct{}

func (streamAddr) Network() string { return "stdio" }
func (streamAddr) String() string  { return "stdio" }
