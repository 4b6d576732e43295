package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
)

const (
	// joinedLately is how long after its first start a member is asked how far it is.
	joinedLately = 10 * time.Minute
	// metricsTimeout and metricsLimit bound each question.
	metricsTimeout = 500 * time.Millisecond
	metricsLimit   = 4 << 20
)

// askJoined adds how far a learner is that has just joined, where anybody can say: what
// it has applied, and what it has on its disk. One that came by a snapshot serves no
// client for 7 s, though it has all there is: etcd serves once its own publication is
// through, and the answer to that went by in the snapshot. On its metrics port, which
// is on loopback, it answers at once.
func (a *Agent) askJoined(ctx context.Context, c string, st *cluster.UnitState) error {
	if !st.Sealed || st.Started == nil || st.Started.Founding == nil || st.Started.Founding.New {
		return nil
	}
	info, err := os.Lstat(filepath.Join(a.layout.data(c, st.Started.Member), markName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the mark of member %s: %w", st.Started.Member, err)
	}
	if time.Since(info.ModTime()) > joinedLately {
		return nil
	}
	at := netip.AddrPortFrom(loopback(st.Started.Address), cluster.MetricsPort)
	p, err := a.hearing.askProgress(ctx, at, st.Started.Member, progress.joins)
	if err != nil {
		a.log.Debug("ask a member how far it is", "member", st.Started.Member, "err", err) // it may be starting still
	}
	st.Applied, st.Logged = p.applied, p.logged
	return nil
}

func askProgress(ctx context.Context, at netip.AddrPort, id cluster.MemberID) (p progress, err error) {
	err = readMetrics(ctx, at, func(text io.Reader) (err error) {
		p, err = readProgress(text, id)
		return err
	})
	return p, err
}

// readMetrics has what a member says on its metrics port read.
func readMetrics(ctx context.Context, at netip.AddrPort, read func(io.Reader) error) error {
	return ask(ctx, at, "/metrics", metricsTimeout, read)
}

// ask has what a member answers to a question on its metrics port read.
func ask(ctx context.Context, at netip.AddrPort, path string, timeout time.Duration, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", at, path, err)
	}
	direct := &http.Transport{DisableKeepAlives: true} // and through nobody's proxy
	resp, err := direct.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", at, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s for %s: it answers %s", at, path, resp.Status)
	}
	return read(io.LimitReader(resp.Body, metricsLimit))
}

// progress is how far a member says it is.
type progress struct {
	// applied is the last entry of the log that it has applied; 0 when it knows no
	// leader, or is not the one that is meant.
	applied uint64
	// logged is the last entry that it knows to be agreed on and has on its disk.
	logged uint64
	// received are the bytes that came from its peers so far.
	received float64
	// learner: it is one, by the log as far as it has applied that.
	learner bool
}

// joins: nobody asks a voter how far it is. Before it has applied anything it knows of no
// membership, and so not what it is.
func (p progress) joins() bool { return p.learner || p.applied == 0 && p.logged > 0 }

// readProgress finds it in the text format of Prometheus (exposition format 0.0.4).
func readProgress(text io.Reader, id cluster.MemberID) (p progress, err error) {
	itself, led := false, false
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		var n float64
		switch {
		case name == `etcd_server_id{server_id="`+id.String()+`"}`:
			itself = true
		case name == "etcd_server_has_leader":
			led = value == "1"
		case name == "etcd_server_is_learner":
			p.learner = value == "1"
		case name == "etcd_server_proposals_applied_total":
			n, err = number(value)
			p.applied = uint64(n)
		case name == "etcd_server_proposals_committed_total": // set once they are saved
			n, err = number(value)
			p.logged = uint64(n)
		case strings.HasPrefix(name, "etcd_network_peer_received_bytes_total{"):
			n, err = number(value)
			p.received += n
		}
		if err != nil {
			return progress{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return progress{}, fmt.Errorf("read metrics: %w", err)
	}
	if !itself || !led {
		return progress{}, nil
	}
	return p, nil
}

// number is a count that a float64 holds exactly.
func number(value string) (float64, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n < 0 || n > 1<<53 {
		return 0, fmt.Errorf("read metrics: %q is no count", value)
	}
	return n, nil
}
