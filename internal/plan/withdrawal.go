package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// withdrawalPatience is how long a member waits for its endpoint to be withdrawn
// before it is taken out all the same: etcd's care does not hang on Kubernetes,
// nor on a machine that has a gateway.
const withdrawalPatience = 10 * time.Second

// stillOffered says who still sends clients to a serving voter that is to go: a
// reason to wait or, after a while, a note that nobody waits any longer.
func (in input) stillOffered(m cluster.Member, why string) (Reason, bool) {
	if !m.Healthy || !in.othersServe(m) {
		return Reason{}, false
	}
	n, known := in.nodeOf(m)
	if !known {
		return Reason{}, false
	}
	who := in.offering(n)
	if len(who) == 0 {
		return Reason{}, false
	}
	since, begun := in.st.WithdrawnSince[m.ID]
	if begun && in.now.Sub(since) >= withdrawalPatience {
		return Reason{
			Level: Note, Rule: "endpointCouldNotBeWithdrawn", Node: n.Hostname,
			Text: fmt.Sprintf("after %s clients are still sent there by %s, and it goes all the same", withdrawalPatience, strings.Join(who, ", ")),
		}, true
	}
	return Reason{
		Level: Waiting, Rule: "endpointIsBeingWithdrawn", Node: n.Hostname,
		Text: fmt.Sprintf("%s, and goes once no client is sent there any more, or after %s; still sending: %s", why, withdrawalPatience, strings.Join(who, ", ")),
	}, true
}

// offering names who sends clients to the member on a node: Kubernetes, and the
// gateways whose list is not known to leave it out, or that have connections there.
func (in input) offering(n cluster.Node) []string {
	var who []string
	if in.st.Published.Offers(n.Address.Unmap()) {
		who = append(who, "Kubernetes")
	}
	for _, g := range in.spec.Nodes {
		ns := in.node(g.Hostname)
		if g.Gateway && usable(ns) && offers(ns.Gateway, n.Hostname, in.outgoing.comesBack) {
			who = append(who, "the gateway on "+string(g.Hostname))
		}
	}
	return who
}

// offers: of a member that is only restarted the connections there are left to
// etcd, which ends them without a request being lost.
func offers(g *cluster.GatewayState, to cluster.NodeName, comesBack bool) bool {
	if g == nil || !g.Running {
		return false
	}
	// A connection that is left has its requests cut off when the member goes; the
	// gateway ends it at the next quiet moment.
	return !g.Applied || !comesBack && g.Connections[to] > 0 ||
		slices.ContainsFunc(g.Gateway.Upstreams, func(u cluster.Upstream) bool { return u.Node == to && !u.Draining })
}
