package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

const (
	// sendsWithin is how long a member is watched for words to its peer, at least, and
	// sendsLongest at most; a leader has one with each heartbeat.
	sendsWithin  = time.Second
	sendsLongest = 8 * time.Second
	sendsAgain   = 50 * time.Millisecond
	// wordEvery is when a stream that is not stuck has a word of its own, beside one that
	// is (rafthttp's linkHeartbeatMessage). Two words that surely came within wordAlone
	// are not both such.
	wordEvery = 5 * time.Second / 3
	wordAlone = wordEvery - 150*time.Millisecond
)

// sendsFor is how long a member with these settings is watched: for two heartbeats, or
// for one with a stream's own words before and after it.
func sendsFor(extraArgs map[string]string) time.Duration {
	ms, err := strconv.Atoi(extraArgs["heartbeat-interval"])
	if err != nil || ms <= 0 {
		return sendsWithin // etcd's own is 100 ms
	}
	beat := time.Duration(min(ms, int(sendsLongest/time.Millisecond))) * time.Millisecond
	return min(max(sendsWithin, min(2*beat, beat+2*wordEvery)+2*sendsAgain), sendsLongest)
}

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
	at := netip.AddrPortFrom(loopback(st.started.Address), cluster.MetricsPort)
	sends, err := sendsTo(ctx, at, req.Member, req.Peer, sendsFor(st.started.ExtraArgs))
	if err != nil {
		a.log.Debug("ask a member what it sends", "member", req.Member, "peer", req.Peer, "err", err) // it may stand still
		return host.SendsAnswer{}, nil
	}
	return host.SendsAnswer{Sends: sends}, nil
}

func sendsTo(ctx context.Context, at netip.AddrPort, member, peer cluster.MemberID, within time.Duration) (bool, error) {
	var l line
	end := time.NewTimer(within)
	defer end.Stop()
	again := time.NewTicker(sendsAgain)
	defer again.Stop()
	for {
		asked := time.Now()
		s, err := askSent(ctx, at, member, peer)
		if err != nil {
			return false, err
		}
		if l.moves(asked, time.Now(), s) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-end.C:
			return false, nil
		case <-again.C:
		}
	}
}

// line is what is known of a member's streams to a peer.
type line struct {
	last  sent
	asked time.Time // for last; zero before the first answer
	word  time.Time // when there was a word, at the earliest; zero while none is known
}

// Heartbeats and proposals go by streams of their own, and etcd counts both as one: a
// stream of proposals that is stuck beside one whose heartbeats go is not seen.
//
// moves takes in an answer, with when it was asked for and when it came, and says whether
// no stream is stuck, or what was stuck was given up.
func (l *line) moves(asked, came time.Time, now sent) bool {
	before := *l
	l.last, l.asked = now, asked
	if before.asked.IsZero() || now.bytes <= before.last.bytes && now.failures <= before.last.failures {
		return false
	}
	l.word = before.asked
	return now.failures > before.last.failures || !before.word.IsZero() && came.Sub(before.word) < wordAlone
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
