package execute

import (
	"context"
	"fmt"

	"cke/internal/cluster"
)

// recordBootstrap writes down who founds the cluster, before anyone starts. The
// random token gives every cluster its own ids: a member of another founding on
// the same addresses is never taken for one of this.
type recordBootstrap struct{ target }

func (a recordBootstrap) Done(ctx context.Context) (bool, error) {
	b, err := a.store().Bootstrap(ctx, a.cluster())
	return b.Phase != cluster.PhaseNew, err
}

func (a recordBootstrap) Do(ctx context.Context) error {
	b := cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: a.cluster() + "-" + a.x.o.Token()}
	for _, name := range a.step.Nodes {
		n, err := a.node(name)
		if err != nil {
			return err
		}
		b.Founders = append(b.Founders, cluster.Founder{Node: n, Member: cluster.BootstrapMemberID(b.Token, n.PeerURL())})
	}
	return a.store().AdvanceBootstrap(ctx, a.cluster(), cluster.PhaseNew, b)
}

// finishBootstrap records that the cluster stands. From then on it is never
// founded again.
type finishBootstrap struct{ target }

func (a finishBootstrap) Done(ctx context.Context) (bool, error) {
	b, err := a.store().Bootstrap(ctx, a.cluster())
	return b.Phase == cluster.PhaseBootstrapped, err
}

func (a finishBootstrap) Do(ctx context.Context) error {
	e := a.members(ctx)
	want := *a.step.Bootstrap
	if !e.Quorum || !e.Auth.Enabled || e.ClusterID != want.ClusterID {
		return fmt.Errorf("guard %s: quorum %v, auth %v, cluster %s (wanted %s)",
			a.step.Kind, e.Quorum, e.Auth.Enabled, e.ClusterID, want.ClusterID)
	}
	return a.store().AdvanceBootstrap(ctx, a.cluster(), cluster.PhaseBootstrapping, want)
}
