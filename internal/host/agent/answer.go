package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

// answerMost bounds how long a machine listens for others, whatever the caller
// does.
const answerMost = 10 * time.Second

// answering are the ports this agent listens on for other machines: they are in
// use by nobody else.
type answering struct {
	mu    sync.Mutex
	ports map[netip.AddrPort]bool
}

// busy says whether a port is in use by somebody else. This agent begins to listen
// there, and ends it, either before the look or after it.
func (a *answering) busy(ap netip.AddrPort) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ports[ap] {
		return false, nil
	}
	return portBusy(ap)
}

func (a *answering) set(ap netip.AddrPort, held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held {
		a.ports[ap] = true
		return
	}
	delete(a.ports, ap)
}

// serveAnswerPeers listens where a member would, says so in one line, and goes
// on until the caller ends the request. The cluster's lock is held meanwhile:
// no member is installed or started on a port that is only borrowed.
func (a *Agent) serveAnswerPeers(w http.ResponseWriter, r *http.Request) {
	var req host.AnswerPeers
	id, err := identity(r)
	if err == nil {
		err = decodeBody(http.MaxBytesReader(w, r.Body, maxBody), &req)
	}
	if err == nil {
		err = errors.Join(checkIdentity(id), checkCluster(req.Cluster), checkAddress(req.Address), checkToken(req.Token))
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), answerMost)
		defer cancel()
		var end func()
		if end, err = a.answerPeers(ctx, id, req, w); err == nil {
			<-ctx.Done()
			end()
			return
		}
	}
	answerError(w, err)
}

func (a *Agent) answerPeers(ctx context.Context, id host.Identity, req host.AnswerPeers, w http.ResponseWriter) (end func(), err error) {
	if err := a.stillAdmitted(id); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(a.layout.host(), "lock", req.Cluster))
	if err != nil {
		return nil, err
	}
	if err := a.noUnit(); err != nil {
		unlock()
		return nil, err
	}
	var said host.Answering
	var stops []func()
	end = func() {
		for _, stop := range stops {
			stop()
		}
		unlock()
	}
	for _, port := range memberPorts() {
		stop, err := a.listen(ctx, netip.AddrPortFrom(req.Address, port), req.Token)
		if errors.Is(err, unix.EADDRINUSE) {
			continue // the preflight says so
		}
		if err != nil {
			end()
			return nil, fmt.Errorf("answer peers: %w", err)
		}
		stops, said.Ports = append(stops, stop), append(said.Ports, port)
	}
	w.Header().Set("Content-Type", "application/json")
	err = json.NewEncoder(w).Encode(said)
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err != nil {
		a.log.Debug("write answer", "error", err) // the caller is gone
	}
	return end, nil
}

// noUnit refuses while a member of any cluster may be started here.
func (a *Agent) noUnit() error {
	clusters, err := names(a.layout.config(""))
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if checkCluster(c) != nil {
			continue
		}
		if path, err := a.holdsUnit(c); err != nil {
			return err
		} else if path != "" {
			return refuse(host.InUse, "a unit of cluster %s is installed; its ports are its member's", c)
		}
	}
	return nil
}

// listen greets whoever connects, until stop is called. stop returns when the
// port is free.
func (a *Agent) listen(ctx context.Context, ap netip.AddrPort, token string) (stop func(), err error) {
	a.answering.set(ap, true)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ap.String())
	if err != nil {
		a.answering.set(ap, false)
		return nil, err
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed below
			}
			wg.Go(func() { greet(c, token, done) })
		}
	})
	return func() {
		close(done)
		_ = l.Close() // nothing was written; Accept ends
		wg.Wait()
		a.answering.set(ap, false)
	}, nil
}

// greetTimeout is how long the other end may take.
const greetTimeout = 2 * time.Second

// greet says who listens here and whom it sees. It lets the other end close
// first, so that no connection lingers at this port, and resets what does not.
func greet(c net.Conn, token string, done <-chan struct{}) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-done:
			_ = c.SetDeadline(time.Now()) // fails only once it is closed
		case <-stop:
		}
	}()
	_ = c.SetDeadline(time.Now().Add(greetTimeout)) // a fresh connection takes it
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		_, _ = fmt.Fprintf(c, "%s %s\n", token, ap.Addr().Unmap()) // whom it does not reach notices
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(c, 1)); n != 0 || err != nil {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // the same
		}
	}
	_ = c.Close() // nobody waits for it
}
