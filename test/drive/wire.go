package drive

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Wire carries connections to an address until it is cut, and again once it is
// joined.
type Wire struct {
	URL string // in place of the address's own

	to string
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// NewWire leads to an https URL.
func NewWire(t testing.TB, url string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{URL: "https://" + l.Addr().String(), to: strings.TrimPrefix(url, "https://"), l: l, conns: map[net.Conn]bool{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close() // accept ends
		w.Cut()
		w.wg.Wait()
	})
	return w
}

func (w *Wire) accept() {
	for {
		in, err := w.l.Accept()
		if err != nil {
			return
		}
		if !w.hold(in) {
			continue
		}
		w.wg.Go(func() { w.carry(in) })
	}
}

// hold keeps a connection for Cut; while the wire is cut it is closed at once.
func (w *Wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = c.Close() // that is the point
		return false
	}
	w.conns[c] = true
	return true
}

func (w *Wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
	_ = c.Close() // it may be closed already
}

func (w *Wire) carry(in net.Conn) {
	defer w.drop(in)
	out, err := net.Dial("tcp", w.to)
	if err != nil || !w.hold(out) {
		return
	}
	defer w.drop(out)
	w.wg.Go(func() {
		_, _ = io.Copy(out, in) // it ends with either end
		w.drop(out)
	})
	_, _ = io.Copy(in, out) // as above
}

// Cut breaks what there is and lets nothing through.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close() // that is the point
	}
}

// Join lets connections through again.
func (w *Wire) Join() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}
