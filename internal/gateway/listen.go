package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxPause is the longest wait before accepting is tried again.
const maxPause = time.Second

// ear is where the gateway listens: one port on one or two addresses.
type ear struct {
	port      uint16
	listeners []*net.TCPListener
	shut      chan struct{}
	once      sync.Once
	done      sync.WaitGroup
}

// listen opens a port. ::1 is left out on machines without it.
func (g *gateway) listen(port uint16) (*ear, error) {
	addresses := []netip.Addr{g.opts.Listen}
	if !g.opts.Listen.IsValid() {
		addresses = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	e := &ear{port: port, shut: make(chan struct{})}
	for i, a := range addresses {
		at := netip.AddrPortFrom(a, port)
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if i > 0 && absent(err) {
			continue
		}
		if err != nil {
			for _, l := range e.listeners {
				err = errors.Join(err, l.Close())
			}
			return nil, cannotListen(at, err)
		}
		e.listeners = append(e.listeners, l)
	}
	g.mu.Lock()
	g.listening = port
	g.mu.Unlock()
	for _, l := range e.listeners {
		e.done.Go(func() { g.accept(e.shut, l) })
	}
	return e, nil
}

// absent says whether a machine has no such address, or no such family.
func absent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

func cannotListen(at netip.AddrPort, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	return fmt.Errorf("listen on %s: %w; `ss -ltnp 'sport = :%d'` shows by which program, kubernetes.gateway_port in cluster.yml chooses another port",
		at, syscall.EADDRINUSE, at.Port())
}

func (e *ear) addresses() string {
	var all []string
	for _, l := range e.listeners {
		all = append(all, l.Addr().String())
	}
	return strings.Join(all, ", ")
}

// close returns when nothing is accepted any more.
func (e *ear) close() {
	e.once.Do(func() {
		close(e.shut)
		for _, l := range e.listeners {
			_ = l.Close() // nothing is lost with it
		}
	})
	e.done.Wait()
}

// accept takes connections until the listener is closed. Without a file to be
// had it waits longer and longer: what comes meanwhile stays in the kernel's
// queue, and what is open goes on.
func (g *gateway) accept(shut <-chan struct{}, l *net.TCPListener) {
	const least = time.Millisecond
	pause := least
	var moaned time.Time
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			pause = least
			g.admit(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case time.Since(moaned) >= time.Minute:
			moaned = time.Now()
			g.log.Warn("a connection is not accepted yet", "err", err)
		}
		if !g.wait(shut, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}
