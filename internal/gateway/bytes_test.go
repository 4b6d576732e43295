package gateway

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// flow is a large text that no two seeds have in common.
func flow(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

func sum(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	must(t, err)
	return fmt.Sprintf("%d bytes, %x", n, h.Sum(nil))
}

// Both directions at once, and each ends when its sender is done.
func TestBytesArriveAsTheyWereSent(t *testing.T) {
	t.Parallel()
	const size = 24<<20 + 17
	heard := make(chan string, 4)
	a := newMember(t, "a", func(c *net.TCPConn) {
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(struct{ io.Writer }{c}, flow(2, size)); _ = c.CloseWrite() })
		h := sha256.New()
		n, err := io.Copy(h, c)
		heard <- fmt.Sprintf("%d bytes, %x", n, h.Sum(nil))
		if err != nil {
			heard <- err.Error()
		}
		both.Wait()
	})
	r := start(t, nil, a)
	conn := r.dial(t)
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(struct{ io.Writer }{conn}, flow(1, size))
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	if got, want := sum(t, conn), sum(t, flow(2, size)); got != want {
		t.Errorf("the client got %s, want %s", got, want)
	}
	must(t, <-sent)
	if got, want := <-heard, sum(t, flow(1, size)); got != want {
		t.Errorf("the member got %s, want %s", got, want)
	}
	r.until(t, "nothing is left of it", func(s State) bool { return s.Connections["a"] == 0 })
}

func TestOneDirectionMayEndBeforeTheOther(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", func(c *net.TCPConn) {
		all, _ := io.ReadAll(c) // the client's end
		_, _ = c.Write(all)
	})
	b := newMember(t, "b", func(c *net.TCPConn) {
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	for _, m := range []*member{a, b} {
		r := start(t, nil, m)
		conn := r.dial(t)
		if m == b {
			mustEnd(t, conn)
		}
		_, err := io.WriteString(conn, "one two")
		must(t, err)
		must(t, conn.CloseWrite())
		if m == a {
			must(t, hear(conn, "one two"))
			mustEnd(t, conn)
		}
		r.until(t, "nothing is left of it", func(s State) bool { return s.Connections[m.node] == 0 })
	}
}

func TestAResetIsPassedOn(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 1)
	a := newMember(t, "a", func(c *net.TCPConn) {
		_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		seen <- err
	})
	r := start(t, nil, a)
	conn := r.talk(t)
	reset(conn)
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the member saw %v", err)
	}

	b := newMember(t, "b", func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 5))
		reset(c)
	})
	r.apply(t, b)
	conn = r.dial(t)
	_, err := io.WriteString(conn, "hello")
	must(t, err)
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client got %d bytes and %v", n, err)
	}
}

// A client that closed everything looks, from outside, like one that only
// listens from now on. With a member that has nothing to say nobody would ever
// notice.
func TestAClientThatDisappears(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	a := newMember(t, "a", func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c) // its end
		_, err := c.Write([]byte("x"))
		for err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		gone <- err
	})
	silent := newMember(t, "b", func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		// It stays silent until it is shut out.
		raw, _ := c.SyscallConn()
		_ = raw.Read(func(fd uintptr) bool {
			errno, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
			return err != nil || errno != 0
		})
	})
	for _, m := range []*member{a, silent} {
		r := start(t, func(r *rig) { r.pace.halfOpen = 20 * time.Millisecond }, m)
		conn := r.dial(t)
		_, err := io.WriteString(conn, "hello")
		must(t, err)
		must(t, conn.Close())
		eventually(t, "it is led on", func() bool { return m.served.Load() == 1 })
		r.until(t, "nothing is left of it", func(s State) bool { return s.Accepted == 1 && s.Connections[m.node] == 0 })
	}
	<-gone
}

// What is half open goes on while somebody speaks.
func TestOverdue(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	for name, c := range map[string]struct {
		silent time.Duration
		ending bool
		over   bool
	}{
		"just spoke":    {silent: 0},
		"nearly silent": {silent: defaultPace().halfOpen - 10*time.Second},
		"silent":        {silent: defaultPace().halfOpen, over: true},
		"hung up":       {ending: true, over: true},
	} {
		conn, err := net.Dial("tcp", a.at.String())
		must(t, err)
		client, err := net.Dial("tcp", a.at.String())
		must(t, err)
		g := &gateway{pace: defaultPace(), started: time.Now().Add(-time.Hour)}
		p := newPair(g, client.(*net.TCPConn), conn.(*net.TCPConn), nil)
		p.last.Store(p.now() - int64(c.silent))
		p.ending.Store(c.ending)
		if err := p.overdue(p.client); errors.Is(err, net.ErrClosed) != c.over {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := p.client.Write([]byte("x")); errors.Is(err, net.ErrClosed) != c.over {
			t.Errorf("%s: a word after it: %v", name, err)
		}
		p.abort()
	}
}

// A member that does not read stops its client, and not by filling memory.
func TestAMemberThatDoesNotReadHoldsItsClientUp(t *testing.T) {
	t.Parallel()
	begin, heard := make(chan struct{}), make(chan string, 1)
	a := newMember(t, "a", func(c *net.TCPConn) {
		<-begin
		h := sha256.New()
		n, _ := io.Copy(h, c)
		heard <- fmt.Sprintf("%d bytes, %x", n, h.Sum(nil))
	})
	r := start(t, nil, a)
	conn := r.dial(t)
	const size = 256 << 20
	must(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
	sent, err := io.Copy(struct{ io.Writer }{conn}, flow(3, size))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken of which nobody read any: %v", sent, err)
	}
	r.g.mu.Lock()
	for p := range r.g.pairs {
		if n := p.inHand.Load(); n > 1 {
			t.Errorf("%d buffers are in hand", n)
		}
	}
	r.g.mu.Unlock()
	close(begin)
	// io.Copy says how much of what it took was written.
	must(t, conn.CloseWrite())
	if got, want := <-heard, sum(t, flow(3, sent)); got != want {
		t.Errorf("the member got %s, want %s", got, want)
	}
}

func TestBuffersAreHeldOnlyWithBytesInThem(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	r := start(t, nil, a)
	conn := r.talk(t)
	eventually(t, "no buffer is held", func() bool {
		r.g.mu.Lock()
		defer r.g.mu.Unlock()
		for p := range r.g.pairs {
			if p.inHand.Load() != 0 {
				return false
			}
		}
		return len(r.g.pairs) == 1
	})
	text := bytes.Repeat([]byte("0123456789"), 100)
	exchange(t, conn, string(text))
}
