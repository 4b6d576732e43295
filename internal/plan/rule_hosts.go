package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// ruleHosts tells which hosts cannot be cared for. It never stops the care for
// the others.
func ruleHosts(in input) verdict {
	var v verdict
	for i, n := range in.nodes {
		ns := in.node(n.Hostname)
		leaving := i >= len(in.spec.Nodes)
		_, carries := in.st.Etcd.MemberAt(n)
		level := Blocked
		if leaving && !carries || !leaving && !carries && !in.isWanted(n) && !n.Gateway && !n.APIServer || in.drained(n.Hostname) {
			level = Note
		}
		switch {
		case ns.Awaited:
			v.reasons = append(v.reasons, hostIsSlow(n, ns))
		case !ns.Reachable():
			v.reasons = append(v.reasons, unanswered(n, ns, Reason{
				Level: level, Rule: "hostIsUnreachable", Text: "the host does not answer: " + ns.Err, Hint: ns.Hint,
			}))
		case ns.Fenced != "":
			v.reasons = append(v.reasons, Reason{
				Level: level, Rule: "hostObeysAnother", Node: n.Hostname, Text: ns.Fenced,
				Hint: "ckecli node claim " + string(n.Hostname),
			})
		case ns.Unit != nil && ns.Unit.NotMounted != "":
			v.reasons = append(v.reasons, diskNotMounted(n, ns))
		case ns.Unit != nil && ns.Unit.Overridden != "":
			v.reasons = append(v.reasons, overridden(n, ns))
		}
		if r, ok := in.putOff(n); ok && !carries {
			if !in.isWanted(n) {
				r.Level = Note
			}
			v.reasons = append(v.reasons, r)
		}
	}
	return v
}

// unanswered is why a host's helper cannot be asked: by its own name where a
// person can do something about it, and else as the caller's rule has it.
func unanswered(n cluster.Node, ns cluster.NodeState, otherwise Reason) Reason {
	r := otherwise
	r.Node = n.Hostname
	rules := map[cluster.Trouble]string{
		cluster.HostKeyUnknown: "hostKeyIsUnknown",
		cluster.HostKeyChanged: "hostKeyHasChanged",
		cluster.LoginRefused:   "loginIsRefused",
		cluster.HelperMissing:  "helperIsMissing",
		cluster.HelperVersion:  "helperIsAnotherVersion",
	}
	if rule, ok := rules[ns.Trouble]; ok {
		r.Rule, r.Text, r.Hint = rule, ns.Err, ns.Hint
	}
	return r
}

func hostIsSlow(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{Level: Waiting, Rule: "hostIsSlow", Node: n.Hostname, Text: "the host is slow to answer: " + ns.Err}
}

func diskNotMounted(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{
		Level: Blocked, Rule: "dataDiskIsNotMounted", Node: n.Hostname,
		Text: fmt.Sprintf("the member's data lay on a file system of its own, which is not mounted: %s", ns.Unit.NotMounted),
		Hint: "mount it; the member then starts by itself",
	}
}

// overridden: somebody's hand is on the unit. It is left as it is, and told.
func overridden(n cluster.Node, ns cluster.NodeState) Reason {
	r := Reason{
		Level: Note, Rule: "unitIsOverridden", Node: n.Hostname, Text: ns.Unit.Overridden,
		Hint: "undo it on the host, if it is not wanted any more: systemctl unmask, revert or enable",
	}
	if !ns.Unit.Running {
		r.Level = Blocked
	}
	return r
}

// usable hosts answer and obey this store.
func usable(ns cluster.NodeState) bool { return ns.Reachable() && ns.Fenced == "" }
