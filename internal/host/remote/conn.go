package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"cke/internal/host"
)

// conn is one SSH connection whose channel runs the helper.
type conn struct {
	to      access
	client  *ssh.Client
	heard   *heardConn
	session *host.Session
	began   time.Time

	users   atomic.Int64
	lastUse atomic.Int64 // since began: no step of the wall clock counts

	once  sync.Once
	ended chan struct{}
	// cause and lived are final once ended is closed.
	cause error
	lived time.Duration
}

// end closes the connection for a reason; the first one counts.
func (c *conn) end(why error) {
	c.once.Do(func() {
		c.cause, c.lived = why, time.Since(c.began)
		close(c.ended)
		// Closing what is gone already fails; that it is gone is what is wanted.
		_ = c.session.Close()
		_ = c.client.Close()
	})
}

func (c *conn) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// why is the reason of the end, in full.
func (c *conn) why() error {
	return fmt.Errorf("%w: the connection to %s ended: %w", host.ErrSessionEnded, c.to, c.cause)
}

// because says why a call failed, where it did because the connection ended.
func (c *conn) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	// HTTP/2 sees the end of the stream a moment before it is known why.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	if !errors.Is(err, net.ErrClosed) && c.alive() {
		if _, gone := c.session.Greet(ctx); gone == nil {
			return err // the stream goes on: it was this call alone
		}
	}
	select {
	case <-c.ended:
		return c.why()
	case <-grace.C:
	case <-ctx.Done():
	}
	return err
}

// use marks the connection as in use until the returned function is called.
func (c *conn) use() (done func()) {
	c.users.Add(1)
	return sync.OnceFunc(func() {
		c.lastUse.Store(int64(time.Since(c.began)))
		c.users.Add(-1)
	})
}

// keep watches over the connection until it has ended.
func (c *conn) keep(clk clock) {
	c.lastUse.Store(int64(time.Since(c.began)))
	tick := time.NewTicker(clk.look())
	defer tick.Stop()
	var asked time.Time
	looked := time.Now()
	answered := make(chan struct{}, 1)
	answered <- struct{}{}
	var pings sync.WaitGroup
	defer pings.Wait()
	for {
		select {
		case <-c.ended:
			return
		case now := <-tick.C:
			silent, before := now.Sub(c.heard.last()), looked
			if looked = now; clk.tooSilent(silent, now.Sub(before)) {
				c.end(fmt.Errorf("nothing came for %s, not even an answer to a keepalive", silent.Round(time.Second)))
				return
			}
			if c.users.Load() == 0 && now.Sub(c.began)-time.Duration(c.lastUse.Load()) > clk.idle {
				c.end(errors.New("nobody used it"))
				return
			}
			if now.Sub(asked) < clk.ping {
				continue
			}
			select {
			case <-answered:
			default:
				continue // one at a time
			}
			asked = now
			pings.Go(func() {
				// Any answer will do: what counts is that something came. The
				// end of the connection ends this call too.
				_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- struct{}{}
			})
		}
	}
}

// heardConn remembers when something last came.
type heardConn struct {
	net.Conn
	began time.Time
	at    atomic.Int64 // since began
}

func newHeardConn(c net.Conn) *heardConn { return &heardConn{Conn: c, began: time.Now()} }

func (h *heardConn) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.at.Store(int64(time.Since(h.began)))
	}
	return n, err
}

func (h *heardConn) last() time.Time { return h.began.Add(time.Duration(h.at.Load())) }
