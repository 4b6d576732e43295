package agent

import (
	"context"
	"io"
	"net/netip"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// progress is what a running member says of itself on its metrics port. Whoever cannot
// reach its client port learns so whether it takes part in the quorum all the same.
// One whose disk hangs goes on hearing its peers and naming a leader, but answers
// nobody: so it has to read through the quorum.
func (a *Agent) progress(ctx context.Context, req host.MemberRequest) (host.ProgressAnswer, error) {
	if err := checkCluster(req.Cluster); err != nil {
		return host.ProgressAnswer{}, err
	}
	st, err := a.runtime.state(ctx, req.Cluster)
	if err != nil || !st.running || st.started == nil || st.started.Member != req.Member {
		return host.ProgressAnswer{}, err
	}
	applied, err := a.takesPart(ctx, netip.AddrPortFrom(loopback(st.started.Address), cluster.MetricsPort), req.Member)
	if err != nil {
		a.log.Debug("ask a member how far it is", "member", req.Member, "err", err) // it may be starting, or stand still
		return host.ProgressAnswer{}, nil
	}
	return host.ProgressAnswer{Applied: applied}, nil
}

// quorumReadTimeout is how long a member may take to read through the quorum.
const quorumReadTimeout = 2 * time.Second

// takesPart is how far a member is that hears its peers and reads through the quorum
// (etcdhttp/health.go, since etcd 3.5.11), as it would for a client.
func (a *Agent) takesPart(ctx context.Context, at netip.AddrPort, id cluster.MemberID) (uint64, error) {
	p, err := a.hearing.askProgress(ctx, at, id, func(p progress) bool { return p.applied > 0 })
	if err != nil || p.applied == 0 {
		return 0, err
	}
	if err := readsThroughQuorum(ctx, at); err != nil {
		return 0, err
	}
	return p.applied, nil
}

func readsThroughQuorum(ctx context.Context, at netip.AddrPort) error {
	return ask(ctx, at, "/readyz/linearizable_read", quorumReadTimeout, func(io.Reader) error { return nil })
}
