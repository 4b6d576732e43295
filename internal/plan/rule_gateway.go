package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"cke/internal/cluster"
)

// ruleGateway keeps the gateways on the nodes that ask for one, and the members
// in their lists: those that serve, the one that is about to go as draining, and one
// that is being stopped or restarted, which is not taken out meanwhile, as restarting.
// While none serves the lists stay as they are, for what served last is where
// clients will find one again.
func ruleGateway(in input) verdict {
	var v verdict
	if in.st.Bootstrap.Phase != cluster.PhaseBootstrapped {
		return v
	}
	want := in.gateway()
	put := Step{Kind: PutGateway, Gateway: &want}
	remove := Step{Kind: RemoveGateway}
	var why []string
	for i, n := range in.nodes {
		ns := in.node(n.Hostname)
		asked := n.Gateway && i < len(in.spec.Nodes)
		switch {
		case !usable(ns):
		case !asked && ns.Gateway != nil:
			remove.Nodes = append(remove.Nodes, n.Hostname)
		case asked && len(want.Upstreams) > 0:
			if wrong := gatewayWrong(ns.Gateway, want); wrong != "" {
				put.Nodes = append(put.Nodes, n.Hostname)
				why = append(why, string(n.Hostname)+": "+wrong)
			}
		}
	}
	if len(put.Nodes) > 0 {
		put.Reason = strings.Join(why, "; ")
		v.steps = append(v.steps, put)
	}
	if len(remove.Nodes) > 0 {
		remove.Reason = "the spec asks for no gateway there"
		v.steps = append(v.steps, remove)
	}
	return v
}

// gateway is what every gateway is to do.
func (in input) gateway() cluster.Gateway {
	g := cluster.Gateway{Cluster: in.spec.Name, Port: in.spec.Kubernetes.GatewayPort}
	eps := in.endpoints()
	others := slices.ContainsFunc(eps, func(e cluster.Endpoint) bool { return e.Ready })
	for _, e := range eps {
		restarts := !e.Serving && others && (in.underRestart(e.Node) || in.stopping(e.Member))
		if e.Serving || restarts {
			g.Upstreams = append(g.Upstreams, cluster.Upstream{
				Node: e.Node, Address: netip.AddrPortFrom(e.Address, cluster.ClientPort),
				Draining: e.Terminating || restarts, Restarting: e.Restarting || restarts,
			})
		}
	}
	slices.SortFunc(g.Upstreams, func(a, b cluster.Upstream) int { return cmp.Compare(a.Node, b.Node) })
	return g
}

// GatewayRight says whether a machine's gateway does what it is to do.
func GatewayRight(have *cluster.GatewayState, want cluster.Gateway) bool {
	return gatewayWrong(have, want) == ""
}

// gatewayWrong says what of a machine's gateway is not as wanted, or nothing.
func gatewayWrong(have *cluster.GatewayState, want cluster.Gateway) string {
	switch {
	case have == nil:
		return "there is no gateway"
	case have.Outdated:
		return "its program is outdated"
	case have.Gateway.Port != want.Port || have.Gateway.Cluster != want.Cluster:
		return "it listens on another port"
	case !slices.Equal(have.Gateway.Upstreams, want.Upstreams):
		return "its list is to be " + describeUpstreams(want.Upstreams)
	case !have.Running:
		return "it does not run: " + orElse(have.Exit, "it was not started")
	case !have.Applied:
		return "it does not go by its list yet"
	}
	return ""
}

func describeUpstreams(us []cluster.Upstream) string {
	words := make([]string, len(us))
	for i, u := range us {
		words[i] = string(u.Node)
		switch {
		case u.Restarting:
			words[i] += " (restarting)"
		case u.Draining:
			words[i] += " (draining)"
		}
	}
	return strings.Join(words, ", ")
}
