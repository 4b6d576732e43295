package plan

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

const (
	// preflightHolds is how long a host that passed counts as fit.
	preflightHolds = 10 * time.Minute
	// preflightAgain is how soon one that failed is looked at again.
	preflightAgain = 15 * time.Second
)

// preflight asks of each candidate whether it may carry a member. It returns
// those that may, a step to measure those about which too little is known, and
// what the others fail. The thresholds are those of the spec as it is now.
func preflight(in input, candidates []cluster.Node) (fit []cluster.Node, v verdict) {
	var ask []cluster.NodeName
	for _, n := range candidates {
		m, peers := in.node(n.Hostname).Measured, Peers(in.spec, in.st, n)
		if m == nil || m.Address != n.Address || !covers(*m, peers) {
			ask = append(ask, n.Hostname)
			continue
		}
		now := *m
		now.Machine.BusyPorts = in.node(n.Hostname).BusyPorts // seen since
		checks := CheckNode(in.spec, n, now, peers)
		v.reasons = append(v.reasons, findings(n, checks)...)
		fails, age := Failed(checks), in.now.Sub(m.At)
		switch {
		case age >= preflightHolds, fails && age >= preflightAgain:
			ask = append(ask, n.Hostname)
		case !fails:
			fit = append(fit, n)
		}
	}
	if len(ask) > 0 {
		v.steps = []Step{checkStep(ask)}
	}
	return fit, v
}

func checkStep(names []cluster.NodeName) Step {
	return Step{Kind: CheckHosts, Nodes: names, Reason: "a host is measured before it may carry a member"}
}

// Peers are the nodes that a member on n would have to do with: the wanted ones,
// and those that carry a member as long as they do.
func Peers(spec cluster.Spec, st cluster.State, n cluster.Node) []cluster.Node {
	in := newInput(spec, st, st.At)
	var peers []cluster.Node
	for _, p := range in.nodes {
		_, carries := st.Etcd.MemberAt(p)
		if p.Hostname != n.Hostname && (carries || in.isWanted(p)) {
			peers = append(peers, p)
		}
	}
	return peers
}

// covers: each of the peers was tried where it is now, both ways, or that it
// could not be is known.
func covers(m cluster.Measured, peers []cluster.Node) bool {
	for _, p := range peers {
		out := slices.ContainsFunc(m.Links, func(l cluster.Link) bool { return !l.Inward && l.Other == p.Hostname && l.Peer == p.Address })
		in := slices.ContainsFunc(m.Links, func(l cluster.Link) bool { return l.Inward && l.Other == p.Hostname && l.Dialer == p.Address })
		if m.Err == "" && !(out && in) {
			return false
		}
	}
	return true
}

func findings(n cluster.Node, checks []cluster.Check) []Reason {
	var rs []Reason
	for _, c := range checks {
		switch c.Verdict {
		case cluster.CheckFail:
			rs = append(rs, Reason{Level: Blocked, Rule: "hostFailsPreflight", Node: n.Hostname, Text: c.Name + ": " + c.Text, Hint: c.Hint})
		case cluster.CheckWarn:
			rs = append(rs, Reason{Level: Note, Rule: "preflightWarns", Node: n.Hostname, Text: c.Name + ": " + c.Text, Hint: c.Hint})
		}
	}
	return rs
}
