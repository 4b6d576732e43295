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
	// metricsTimeout and metricsLimit bound that question.
	metricsTimeout = 500 * time.Millisecond
	metricsLimit   = 4 << 20
)

// appliedBy is the last entry of the log that a member which has just joined has
// applied; 0 when nobody can say. A learner that came by a snapshot serves no client
// for 7 s, though it has all there is: etcd serves once its own publication is
// through, and the answer to that went by in the snapshot. On its metrics port, which
// is on loopback, it answers at once.
func (a *Agent) appliedBy(ctx context.Context, c string, st *cluster.UnitState) (uint64, error) {
	if !st.Sealed || st.Started == nil || st.Started.Founding == nil || st.Started.Founding.New {
		return 0, nil
	}
	info, err := os.Lstat(filepath.Join(a.layout.data(c, st.Started.Member), markName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at the mark of member %s: %w", st.Started.Member, err)
	}
	if time.Since(info.ModTime()) > joinedLately {
		return 0, nil
	}
	applied, err := askApplied(ctx, netip.AddrPortFrom(loopback(st.Started.Address), cluster.MetricsPort), st.Started.Member)
	if err != nil {
		a.log.Debug("ask a member how far it is", "member", st.Started.Member, "err", err) // it may be starting still
	}
	return applied, nil
}

// askApplied reads a member's metrics, and believes only those of this one.
func askApplied(ctx context.Context, at netip.AddrPort, id cluster.MemberID) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask %s for metrics: %w", at, err)
	}
	direct := &http.Transport{DisableKeepAlives: true} // and through nobody's proxy
	resp, err := direct.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("ask %s for metrics: %w", at, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("ask %s for metrics: it answers %s", at, resp.Status)
	}
	return readApplied(io.LimitReader(resp.Body, metricsLimit), id)
}

// readApplied finds in the text format of Prometheus (exposition format 0.0.4) how
// far the member is, if it knows a leader and is the one that is meant.
func readApplied(text io.Reader, id cluster.MemberID) (applied uint64, err error) {
	itself, led := false, false
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case `etcd_server_id{server_id="` + id.String() + `"}`:
			itself = true
		case "etcd_server_has_leader":
			led = value == "1"
		case "etcd_server_proposals_applied_total":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil || n < 0 || n > 1<<53 {
				return 0, fmt.Errorf("read metrics: %q applied entries", value)
			}
			applied = uint64(n)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	if !itself || !led {
		return 0, nil
	}
	return applied, nil
}
