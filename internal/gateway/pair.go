package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is two TLS records. A direction holds one buffer, and only while
// it has bytes in hand: silent connections hold none, and one whose receiver
// does not read is not read from either.
const bufferSize = 32 << 10

// pair is a client's connection and the one to the upstream that belongs to it.
type pair struct {
	g        *gateway
	client   *net.TCPConn
	upstream *net.TCPConn
	up       *upstream

	last      atomic.Int64 // when somebody spoke last, since the gateway's start
	asked     atomic.Int64 // when the client spoke first; 0 before
	askedLast atomic.Int64 // when the client spoke last
	answered  atomic.Bool  // the upstream has spoken
	question  atomic.Bool  // the client spoke last
	inHand    atomic.Int32 // directions that hold bytes
	ending    atomic.Bool  // we hung up
	deadline  sync.Mutex   // over both sides' deadlines, and ending

	endBy time.Time // the sweeper's: until when a quiet moment is waited for
}

func newPair(g *gateway, client, conn *net.TCPConn, up *upstream) *pair {
	p := &pair{g: g, client: client, upstream: conn, up: up}
	now := p.now()
	p.last.Store(now)
	p.askedLast.Store(now)
	return p
}

func (p *pair) now() int64 { return int64(time.Since(p.g.started)) }

// run passes bytes on until both directions have ended, and closes.
func (p *pair) run() {
	var other sync.WaitGroup
	other.Go(func() { p.pump(p.client, p.upstream, p.fromUpstream) })
	p.pump(p.upstream, p.client, p.fromClient)
	other.Wait()
	// What could be passed on was; all else was noted where it happened.
	_, _ = p.client.Close(), p.upstream.Close()
}

func (p *pair) fromClient() {
	now := p.now()
	p.last.Store(now)
	p.askedLast.Store(now)
	p.question.Store(true)
	if p.asked.Load() == 0 {
		p.asked.Store(now)
	}
}

func (p *pair) fromUpstream() {
	p.last.Store(p.now())
	p.question.Store(false)
	if !p.answered.Load() {
		p.answered.Store(true)
	}
	if p.up.mute.Load() {
		p.g.heard(p.up)
	}
}

// pump is one direction. It ends with its source, at whose end the other side
// is told; note is called for whatever came.
func (p *pair) pump(dst, src *net.TCPConn, note func()) {
	r, err := p.reader(src)
	for err == nil {
		var n int
		if n, err = r.read(); err != nil || n == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = p.overdue(src)
				continue
			}
			break
		}
		note()
		_, werr := dst.Write(r.buffer[:n])
		r.put()
		p.last.Store(p.now())
		if werr != nil && !p.ending.Load() {
			if dst == p.upstream && away(werr) {
				p.g.lost(p.up, werr)
			}
			// The other direction reads what dst has left, and then that it ended.
			p.leave(src, dst)
			return
		}
		// Once we have ended, what still comes is taken so that no RST follows
		// the FIN: it would destroy what the other side has not read yet.
	}
	switch {
	case err == nil:
		p.passEnd(dst)
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		if src == p.upstream && away(err) {
			p.g.lost(p.up, err)
		}
		p.abort()
	}
}

// away says whether an error tells that a machine is, not only its etcd.
func away(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// passEnd tells dst that no more comes. The other direction may go on for as
// long as it likes, but not idle for ever: a client that has gone altogether
// looks like one that only listens.
func (p *pair) passEnd(dst *net.TCPConn) {
	_ = dst.CloseWrite() // it may have gone itself
	p.limit(dst, p.g.pace.halfOpen)
}

// leave ends a direction whose receiver is gone.
func (p *pair) leave(src, dst *net.TCPConn) {
	_ = src.CloseRead()
	p.limit(dst, p.g.pace.halfOpen)
}

// overdue says whether a direction that has waited until its deadline is over,
// and sets the next deadline if not.
func (p *pair) overdue(src *net.TCPConn) error {
	left := p.g.pace.halfOpen - time.Duration(p.now()-p.last.Load())
	if p.ending.Load() || left <= 0 {
		p.abort()
		return net.ErrClosed
	}
	p.limit(src, left)
	return nil
}

// limit sets until when a side may be silent, unless we hung up meanwhile.
func (p *pair) limit(conn *net.TCPConn, d time.Duration) {
	p.deadline.Lock()
	defer p.deadline.Unlock()
	if p.ending.Load() {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(d)) // fails when closed, and then nobody reads
}

// hangUp ends both sides as a program ends a connection that is done. Both are
// told at once: what a client still asks after its member was told would be
// lost, and this way it knows.
func (p *pair) hangUp() {
	p.deadline.Lock()
	defer p.deadline.Unlock()
	p.ending.Store(true)
	_, _ = p.upstream.CloseWrite(), p.client.CloseWrite() // one of them may be gone
	by := time.Now().Add(p.g.pace.farewell)
	_, _ = p.upstream.SetDeadline(by), p.client.SetDeadline(by)
}

// abort ends both sides as one of them ended: at once.
func (p *pair) abort() {
	reset(p.client)
	reset(p.upstream)
}

// reset closes a connection without a word.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails when closed already
	_ = conn.Close()
}

// reader takes a buffer only once there is something to be read.
type reader struct {
	p      *pair
	raw    syscall.RawConn
	buffer *[bufferSize]byte
	n      int
	err    error
}

func (p *pair) reader(src *net.TCPConn) (*reader, error) {
	raw, err := src.SyscallConn()
	return &reader{p: p, raw: raw}, err
}

// read returns how many bytes are in buffer, which must be put back then; 0 at
// the end.
func (r *reader) read() (int, error) {
	if err := r.raw.Read(r.ready); err != nil {
		return 0, err
	}
	if r.err != nil {
		return 0, os.NewSyscallError("read", r.err)
	}
	return r.n, nil
}

// ready is called first, and whenever something may have come. It says whether
// it is done.
func (r *reader) ready(fd uintptr) bool {
	r.take()
	for {
		r.n, r.err = unix.Read(int(fd), r.buffer[:])
		if !errors.Is(r.err, unix.EINTR) {
			break
		}
	}
	if r.err != nil || r.n == 0 {
		r.put()
	}
	return !errors.Is(r.err, unix.EAGAIN)
}

func (r *reader) take() {
	r.p.inHand.Add(1)
	b, ok := r.p.g.buffers.Get().(*[bufferSize]byte)
	if !ok {
		b = new([bufferSize]byte)
	}
	r.buffer = b
}

func (r *reader) put() {
	r.p.g.buffers.Put(r.buffer)
	r.buffer = nil
	r.p.inHand.Add(-1)
}
