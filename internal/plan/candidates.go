package plan

import (
	"fmt"
	"slices"

	"cke/internal/cluster"
)

// ready are those of the nodes that can take a learner now. The verdict says what
// is in the way of the others, and what is to be done about it.
func (in input) ready(nodes []cluster.Node) ([]cluster.Node, verdict) {
	var v verdict
	var free []cluster.Node
	for _, n := range nodes {
		if !usable(in.node(n.Hostname)) {
			continue // ruleHosts has said so
		}
		if r, ok := cannotCarry(in, n); ok {
			v.reasons = append(v.reasons, r)
			continue
		}
		if _, ok := in.putOff(n); ok {
			continue // and of this
		}
		if version := in.joinVersion(); !hasVersion(in.node(n.Hostname), version) {
			in.needVersion(&v, n, version)
			continue
		}
		free = append(free, n)
	}
	fit, checked := preflight(in, free)
	v.steps, v.reasons = append(v.steps, checked.steps...), append(v.reasons, checked.reasons...)
	return fit, v
}

// unmeasuredRivals are spares that could have one of these nodes' seats instead,
// and of which too little is known to say which is better.
func (in input) unmeasuredRivals(seats []cluster.Node) []cluster.NodeName {
	var names []cluster.NodeName
	if len(seats) == 0 {
		return nil
	}
	for _, n := range in.spares() {
		m := in.node(n.Hostname).Measured
		if in.isWanted(n) || in.unfit(n) != "" {
			continue
		}
		if m == nil || m.Address != n.Address || in.now.Sub(m.At) >= preflightHolds {
			names = append(names, n.Hostname)
		}
	}
	return names
}

// joinChecks has these hosts measured too, in the same step where there is one.
func joinChecks(steps []Step, names []cluster.NodeName) []Step {
	if len(names) == 0 {
		return steps
	}
	for i, s := range steps {
		if s.Kind == CheckHosts {
			steps[i].Nodes = append(slices.Clone(s.Nodes), names...)
			return steps
		}
	}
	return append(steps, checkStep(names))
}

// cannotCarry says why a usable node cannot take a member now.
func cannotCarry(in input, n cluster.Node) (Reason, bool) {
	ns := in.node(n.Hostname)
	r := Reason{Level: Blocked, Node: n.Hostname}
	switch {
	case ns.Unit != nil || len(ns.Data) > 0:
		r.Level, r.Rule, r.Text = Waiting, "oldDataMustBeAside", "the host still carries "+describeData(ns)
	case len(ns.Foreign) > 0:
		return anotherEtcd(n, ns), true
	case len(ns.BusyPorts) > 0:
		return portsBusy(n, ns), true
	case ns.LacksRoom(): // it may have been measured before
		r.Rule = "noRoomForAMember"
		r.Text = fmt.Sprintf("of %s on %s only %s are free, too little for a member to start", roundSize(ns.Disk.Size), ns.Disk.Mount, roundSize(ns.Disk.Free))
		r.Hint = "make room on " + ns.Disk.Mount + ", or make it larger"
	default:
		return r, false
	}
	return r, true
}
