package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"cke/internal/cluster"
)

// upstream is one member, as long as it has this node and this address. All
// but mute is guarded by the gateway's lock.
type upstream struct {
	cluster.Upstream
	open    int  // connections, also those that are being made
	removed bool // from the list
	down    bool // it did not answer last
	// trial is closed when nobody need find out any more whether it answers.
	trial chan struct{}
	rest  time.Duration // for which it was avoided when it was mute last
	// mute: it takes connections and leaves them unanswered.
	mute atomic.Bool
}

// apply goes by another list. What is in both keeps its connections and what
// is known of it.
func (g *gateway) apply(list cluster.Gateway) {
	g.mu.Lock()
	old := g.upstreams
	g.upstreams = nil
	for _, wanted := range list.Upstreams {
		i := slices.IndexFunc(old, func(u *upstream) bool { return u.Node == wanted.Node && u.Address == wanted.Address })
		if i < 0 {
			g.upstreams = append(g.upstreams, &upstream{Upstream: wanted})
			continue
		}
		old[i].Draining, old[i].Restarting = wanted.Draining, wanted.Restarting
		g.upstreams = append(g.upstreams, old[i])
	}
	for _, u := range old {
		if !slices.Contains(g.upstreams, u) {
			u.removed = true
			u.endTrial()
		}
	}
	first := g.list.Port == 0
	g.list = list
	g.mu.Unlock()
	if len(list.Upstreams) == 0 {
		g.say(emptyTrouble, "the list names no upstream, so every connection is refused")
	} else {
		g.say(emptyTrouble, "")
	}
	if !first {
		g.log.Info("the list has changed", "cluster", list.Cluster, "port", list.Port, "upstreams", g.summary())
	}
	g.wake()
}

// summary is the upstreams as one line of a log has them.
func (g *gateway) summary() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, u := range g.upstreams {
		s := fmt.Sprintf("%s=%s", u.Node, u.Address)
		if u.Draining {
			s += " (draining)"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func (g *gateway) port() uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list.Port
}

// candidate is an upstream as seen by the choice.
type candidate struct {
	draining, down bool
	open           int
}

// class is the order in which upstreams are tried: whether it answered last is
// a hint, that it is to go is not.
func (c candidate) class() int {
	switch {
	case c.draining && c.down:
		return 3
	case c.draining:
		return 2
	case c.down:
		return 1
	}
	return 0
}

// choose returns which candidate gets a new connection: of the best class the
// one with the fewest, by lot if there are several; -1 if there is none.
func choose(all []candidate, lot func(n int) int) int {
	best, same := -1, 0
	var of candidate
	for i, c := range all {
		order := cmp.Or(cmp.Compare(c.class(), of.class()), cmp.Compare(c.open, of.open))
		switch {
		case best < 0 || order < 0:
			best, of, same = i, c, 1
		case order == 0:
			if same++; lot(same) == 0 {
				best = i
			}
		}
	}
	return best
}

// take chooses among those that were not tried and counts the connection that
// is to be.
func (g *gateway) take(tried []*upstream) *upstream {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return nil
	}
	var all []candidate
	var who []*upstream
	for _, u := range g.upstreams {
		if !slices.Contains(tried, u) {
			all = append(all, candidate{u.Draining, u.down, u.open})
			who = append(who, u)
		}
	}
	i := choose(all, rand.IntN)
	if i < 0 {
		return nil
	}
	who[i].open++
	return who[i]
}

// connect goes through the upstreams until one answers; nil when none does.
func (g *gateway) connect() (*upstream, *net.TCPConn) {
	var tried []*upstream
	for {
		up := g.take(tried)
		if up == nil {
			return nil, nil
		}
		tried = append(tried, up)
		conn, err := g.dial(g.serving, up)
		if err == nil && !up.mute.Load() {
			g.found(up)
		}
		if err == nil && g.keep(up) {
			return up, conn
		}
		g.mu.Lock()
		up.open--
		g.mu.Unlock()
		switch {
		case err == nil:
			_ = conn.Close() // not a byte went over it
		case !ours(err):
			g.lost(up, err)
		}
	}
}

// keep: while it was dialled, the upstream may have got on its way out.
func (g *gateway) keep(up *upstream) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.leaving(up)
}

// leaving says whether connections to an upstream are to end. One that is only
// draining keeps them as long as they could go nowhere else, and one that is
// restarted to its end: it ends them better than we could.
func (g *gateway) leaving(up *upstream) bool {
	return up.removed || g.stopping || up.Draining && !up.Restarting && g.elsewhere(up)
}

// elsewhere says whether another upstream stays and answered last.
func (g *gateway) elsewhere(up *upstream) bool {
	return slices.ContainsFunc(g.upstreams, func(u *upstream) bool { return u != up && !u.Draining && !u.down })
}

func (g *gateway) dial(ctx context.Context, up *upstream) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: g.pace.dial, KeepAliveConfig: upstreamKeepAlive(), Control: limitSilence}
	conn, err := d.DialContext(ctx, "tcp", up.Address.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("dial %s: got no TCP connection", up.Address), conn.Close())
	}
	return tcp, nil
}

// ours says whether a dial that failed tells nothing about whom it went to.
func ours(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, context.Canceled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lost notes that an upstream did not answer and probes it until it does. One
// that answers is not probed: etcd would log each time that someone knocked.
func (g *gateway) lost(up *upstream, cause error) {
	g.avoid(up, "it cannot be reached", cause, func(trial <-chan struct{}) {
		for pause := g.pace.probeMin; g.wait(trial, pause); pause = min(2*pause, g.pace.probeMax) {
			conn, err := g.dial(g.work, up)
			if err == nil {
				_ = conn.Close() // it answered; nothing was said
				g.found(up)
				return
			}
		}
	})
}

// muted notes that an upstream takes connections and says nothing, as the
// kernel of a machine does whose etcd is stopped. A probe would not tell, so it
// is avoided for a while, until the next connection finds out.
func (g *gateway) muted(up *upstream) {
	up.mute.Store(true)
	g.avoid(up, "it takes connections and says nothing", nil, func(trial <-chan struct{}) {
		g.mu.Lock()
		up.rest = min(max(2*up.rest, g.pace.muteMin), g.pace.muteMax)
		rest := up.rest
		g.mu.Unlock()
		if g.wait(trial, rest) {
			g.found(up)
		}
	})
}

// heard notes that an upstream that was mute speaks.
func (g *gateway) heard(up *upstream) {
	g.mu.Lock()
	up.rest = 0
	g.mu.Unlock()
	g.found(up)
}

// avoid marks an upstream and has someone find out when it is well again.
func (g *gateway) avoid(up *upstream, why string, cause error, try func(trial <-chan struct{})) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if up.down || up.removed || g.stopping {
		return
	}
	trial := make(chan struct{})
	up.down, up.trial = true, trial
	g.log.Warn("an upstream is avoided", "node", up.Node, "address", up.Address, "why", why, "err", cause)
	g.others.Go(func() { try(trial) })
}

// found notes that an upstream answers.
func (g *gateway) found(up *upstream) {
	up.mute.Store(false)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !up.down || up.removed {
		return
	}
	up.down = false
	up.endTrial()
	g.log.Info("an upstream answers again", "node", up.Node, "address", up.Address)
	g.wake() // those that waited for it may go there now
}

// endTrial is called with the gateway's lock held.
func (u *upstream) endTrial() {
	if u.trial != nil {
		close(u.trial)
		u.trial = nil
	}
}

// wait says whether neither stop nor the gateway's end came before the time
// was over.
func (g *gateway) wait(stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-g.work.Done():
		return false
	case <-stop:
		return false
	case <-t.C:
		return true
	}
}
