package plan

import (
	"cke/internal/cluster"
)

// ruleUnits keeps each member's unit as wanted. It acts on a known membership
// only, and never touches the process: a change takes effect at the next start.
func ruleUnits(in input) verdict {
	var v verdict
	if !in.st.Etcd.Quorum {
		return v
	}
	var units []cluster.Unit
	for _, m := range in.st.Etcd.Members {
		n, ok := in.nodeOf(m)
		ns := in.node(n.Hostname)
		if !ok || !usable(ns) || in.dataLost(m) || ns.Unit != nil && ns.Unit.Unit.Member != m.ID {
			continue
		}
		if !m.Started() && !in.isWanted(n) {
			continue // it is taken back out
		}
		want := wantedUnit(in.spec, n, m.ID)
		if !m.Started() && (ns.Unit == nil || !ns.Unit.Sealed) {
			want = joiningUnit(in, n, m)
		}
		if ns.Unit == nil || !ns.Unit.Unit.Equal(want) {
			if !hasVersion(ns, want.Version) {
				in.needVersion(&v, n, want.Version)
				continue
			}
			units = append(units, want)
			continue
		}
		if r, ok := restartPending(ns, n); ok {
			v.reasons = append(v.reasons, r)
		}
	}
	if len(units) > 0 {
		v.steps = append(v.steps, unitStep(units, "the installed unit differs from the wanted one"))
	}
	return v
}

// restartPending notes flags that the running process does not have yet. How it
// entered the cluster does not count: that is over.
func restartPending(ns cluster.NodeState, n cluster.Node) (Reason, bool) {
	u := ns.Unit
	if !u.Running || u.Started == nil {
		return Reason{}, false
	}
	running, installed := *u.Started, u.Unit
	running.Founding, installed.Founding = nil, nil
	if running.Equal(installed) {
		return Reason{}, false
	}
	return Reason{
		Level: Note, Rule: "restartIsPending", Node: n.Hostname,
		Text: "the member runs with other flags than its unit says; they take effect when it next starts",
	}, true
}
