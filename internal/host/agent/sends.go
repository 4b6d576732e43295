package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

const (
	// sendsWithin is how long a member is watched for words to its peer; a leader has
	// one with each heartbeat (100 ms unless set otherwise).
	sendsWithin = time.Second
	sendsAgain  = 50 * time.Millisecond
	// sendsOften is how often what was sent must have grown: a stream that is not stuck
	// has a word of its own each 1.7 s (rafthttp's linkHeartbeatMessage) beside one that is.
	sendsOften = 2
)

// sends says whether a member has sent a peer something, or given that up, while it is
// watched. etcd ends the streams to a removed peer while it applies the removal
// (rafthttp, peer.stop), and waits for a write that is under way: to a machine that went
// away without a word that is up to five seconds, twice, once the send buffer is full,
// and nothing else is applied meanwhile.
func (a *Agent) sends(ctx context.Context, req host.PeerRequest) (host.SendsAnswer, error) {
	if err := checkCluster(req.Cluster); err != nil {
		return host.SendsAnswer{}, err
	}
	st, err := a.runtime.state(ctx, req.Cluster)
	if err != nil || !st.running || st.started == nil || st.started.Member != req.Member {
		return host.SendsAnswer{}, err
	}
	sends, err := sendsTo(ctx, netip.AddrPortFrom(loopback(st.started.Address), cluster.MetricsPort), req.Member, req.Peer)
	if err != nil {
		a.log.Debug("ask a member what it sends", "member", req.Member, "peer", req.Peer, "err", err) // it may stand still
		return host.SendsAnswer{}, nil
	}
	return host.SendsAnswer{Sends: sends}, nil
}

func sendsTo(ctx context.Context, at netip.AddrPort, member, peer cluster.MemberID) (bool, error) {
	last, err := askSent(ctx, at, member, peer)
	if err != nil {
		return false, err
	}
	end := time.NewTimer(sendsWithin)
	defer end.Stop()
	again := time.NewTicker(sendsAgain)
	defer again.Stop()
	for often := 0; ; {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-end.C:
			return false, nil
		case <-again.C:
		}
		now, err := askSent(ctx, at, member, peer)
		if err != nil {
			return false, err
		}
		if now.bytes > last.bytes {
			often++
		}
		if now.failures > last.failures || often == sendsOften {
			return true, nil
		}
		last = now
	}
}

// sent is what a member has sent a peer, and how many messages it has given up: of those
// that come after one that it is stuck in, none.
type sent struct{ bytes, failures float64 }

func askSent(ctx context.Context, at netip.AddrPort, member, peer cluster.MemberID) (s sent, err error) {
	err = readMetrics(ctx, at, func(text io.Reader) (err error) {
		s, err = readSent(text, member, peer)
		return err
	})
	return s, err
}

// readSent finds it in a member's metrics. The names are etcd's
// (server/etcdserver/api/rafthttp/metrics.go).
func readSent(text io.Reader, member, peer cluster.MemberID) (s sent, err error) {
	itself, to := false, fmt.Sprintf("{To=%q}", peer)
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case `etcd_server_id{server_id="` + member.String() + `"}`:
			itself = true
		case "etcd_network_peer_sent_bytes_total" + to:
			s.bytes, err = number(value)
		case "etcd_network_peer_sent_failures_total" + to:
			s.failures, err = number(value)
		}
		if err != nil {
			return sent{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return sent{}, fmt.Errorf("read metrics: %w", err)
	}
	if !itself {
		return sent{}, fmt.Errorf("read metrics: they are not those of member %s", member)
	}
	return s, nil
}
