package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"cke/internal/cluster"
	"cke/internal/host"
)

// gatewayLock is the lock of the machine's gateway: it has one, whatever the
// cluster. It is no cluster's name.
const gatewayLock = ".gateway"

// The bounds of a gateway.
const (
	maxUpstreams = 64
	// leastGatewayPort: its user may take no lower one.
	leastGatewayPort = 1024
)

func (a *Agent) putGateway(ctx context.Context, id host.Identity, g cluster.Gateway) error {
	if err := checkGateway(g); err != nil {
		return err
	}
	g = inOrder(g)
	if a.gateways == nil {
		return refuse(host.NoGateway, "only a machine of its own with systemd has a gateway; members here are run by runtime %s", a.kind)
	}
	unlock, err := a.begin(ctx, id, gatewayLock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.gateways.put(ctx, g); err != nil {
		return fmt.Errorf("put gateway: %w", err)
	}
	return nil
}

func (a *Agent) removeGateway(ctx context.Context, id host.Identity, req host.ClusterRequest) error {
	if err := checkCluster(req.Cluster); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, gatewayLock)
	if err != nil {
		return err
	}
	defer unlock()
	if a.gateways == nil {
		return nil
	}
	if err := a.gateways.remove(ctx, req.Cluster); err != nil {
		return fmt.Errorf("remove gateway: %w", err)
	}
	return nil
}

func (a *Agent) gatewayFacts(ctx context.Context, req host.FactsRequest, f *host.Facts) (err error) {
	if a.gateways != nil {
		f.Gateway, err = a.gateways.state(ctx, req.Cluster)
	}
	return err
}

// purgeGateway removes the machine's gateway, whatever its cluster.
func (a *Agent) purgeGateway(ctx context.Context) error {
	if a.gateways != nil {
		if err := a.gateways.purge(ctx); err != nil {
			return err
		}
	}
	a.reached("purge:gateway")
	return nil
}

// checkGateway accepts what leads to members' client ports and nowhere else.
func checkGateway(g cluster.Gateway) error {
	if err := checkCluster(g.Cluster); err != nil {
		return err
	}
	members := []uint16{cluster.ClientPort, cluster.PeerPort, cluster.MetricsPort, cluster.ClientHTTPPort}
	if g.Port < leastGatewayPort || slices.Contains(members, g.Port) {
		return invalid("port %d is below %d or a member's: a gateway cannot listen there", g.Port, leastGatewayPort)
	}
	if len(g.Upstreams) == 0 || len(g.Upstreams) > maxUpstreams {
		return invalid("a gateway has 1 to %d upstreams, not %d", maxUpstreams, len(g.Upstreams))
	}
	nodes, addresses := map[cluster.NodeName]bool{}, map[netip.AddrPort]bool{}
	for _, u := range g.Upstreams {
		switch {
		case !dnsLabel.MatchString(string(u.Node)):
			return invalid("node name %.80q is not a DNS label", u.Node)
		case checkAddress(u.Address.Addr()) != nil || u.Address.Port() != cluster.ClientPort:
			return invalid("upstream %s of %s is not a member's address with port %d", u.Address, u.Node, cluster.ClientPort)
		case nodes[u.Node] || addresses[u.Address]:
			return invalid("upstream %s (%s) is named twice", u.Node, u.Address)
		}
		nodes[u.Node], addresses[u.Address] = true, true
	}
	return nil
}

// inOrder is the one form of a list, so that lists can be compared.
func inOrder(g cluster.Gateway) cluster.Gateway {
	g.Upstreams = slices.SortedFunc(slices.Values(g.Upstreams), func(x, y cluster.Upstream) int { return cmp.Compare(x.Node, y.Node) })
	return g
}

func sameGateway(x, y cluster.Gateway) bool {
	return x.Cluster == y.Cluster && x.Port == y.Port && slices.Equal(x.Upstreams, y.Upstreams)
}
