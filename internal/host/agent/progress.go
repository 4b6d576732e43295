package agent

import (
	"context"
	"net/netip"

	"cke/internal/cluster"
	"cke/internal/host"
)

// progress is what a running member says of itself on its metrics port. Whoever cannot
// reach its client port learns so whether it takes part in the quorum all the same.
func (a *Agent) progress(ctx context.Context, req host.MemberRequest) (host.ProgressAnswer, error) {
	if err := checkCluster(req.Cluster); err != nil {
		return host.ProgressAnswer{}, err
	}
	st, err := a.runtime.state(ctx, req.Cluster)
	if err != nil || !st.running || st.started == nil || st.started.Member != req.Member {
		return host.ProgressAnswer{}, err
	}
	applied, err := askApplied(ctx, netip.AddrPortFrom(loopback(st.started.Address), cluster.MetricsPort), req.Member)
	if err != nil {
		a.log.Debug("ask a member how far it is", "member", req.Member, "err", err) // it may be starting, or stand still
		return host.ProgressAnswer{}, nil
	}
	return host.ProgressAnswer{Applied: applied}, nil
}
