package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// dialTimeout leaves room for one lost packet (RFC 6298: repeated after 1 s).
const dialTimeout = 2 * time.Second

// memberPorts are where members reach each other.
func memberPorts() []uint16 { return []uint16{cluster.ClientPort, cluster.PeerPort} }

// reachPeers connects to the members' ports of other machines, all at once.
func (a *Agent) reachPeers(ctx context.Context, req host.ReachPeers) ([]cluster.Reach, error) {
	if err := errors.Join(checkCluster(req.Cluster), checkToken(req.Token)); err != nil {
		return nil, err
	}
	if len(req.Peers) > maxPeers {
		return nil, invalid("%d peers are more than %d", len(req.Peers), maxPeers)
	}
	for _, p := range req.Peers {
		if err := checkAddress(p.Address); err != nil {
			return nil, err
		}
	}
	ports := memberPorts()
	out := make([]cluster.Reach, len(req.Peers)*len(ports))
	var wg sync.WaitGroup
	for i, p := range req.Peers {
		for j, port := range ports {
			r := &out[i*len(ports)+j]
			r.Peer, r.Port = p.Address, port
			token := ""
			for _, g := range p.Greets {
				if g == port {
					token = req.Token
				}
			}
			wg.Go(func() { reach(ctx, r, token) })
		}
	}
	wg.Wait()
	return out, ctx.Err()
}

func checkToken(token string) error {
	if !tokenRE.MatchString(token) {
		return invalid("the token is not 1 to 128 of A-Za-z0-9._-")
	}
	return nil
}

// reach connects once, and waits for the greeting if one is due. The source
// address is left to the kernel, as etcd leaves it.
func reach(ctx context.Context, r *cluster.Reach, token string) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	begin := time.Now()
	c, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", netip.AddrPortFrom(r.Peer, r.Port).String())
	r.Took = time.Since(begin)
	if err != nil {
		r.Err, r.Refused = plainDial(err), errors.Is(err, unix.ECONNREFUSED)
		return
	}
	defer func() { _ = c.Close() }() // nothing was written
	if from, ok := c.LocalAddr().(*net.TCPAddr); ok {
		r.Source = from.AddrPort().Addr().Unmap()
	}
	if token == "" {
		return
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // fails only on a closed connection; the read says so
	}
	line, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	said, seen, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	switch from, bad := netip.ParseAddr(seen); {
	case err == nil && said == token && bad == nil:
		r.Source = from
	case err == nil || line != "":
		r.Err = fmt.Sprintf("another program or machine answers: %.40q", line)
	default:
		r.Err = "connected, but not to the machine that listens there: " + plainDial(err)
	}
}

// plainDial is what went wrong, without the addresses, which stand beside it.
func plainDial(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Sprintf("no answer within %s", dialTimeout)
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
