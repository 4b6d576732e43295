package plan

import "fmt"

// ruleDeposed ends everything when a newer leader of this store has acted on a
// host: hosts refuse this one anyway, but etcd itself would obey both.
func ruleDeposed(in input) verdict {
	for _, n := range in.nodes {
		if ns := in.node(n.Hostname); ns.Deposed {
			return verdict{stop: true, reasons: []Reason{{
				Level: Blocked, Rule: "newerLeaderActs", Node: n.Hostname,
				Text: fmt.Sprintf("%s; this cke changes nothing any more", ns.Fenced),
				Hint: "stop this cke: another one was started from a backup of its state",
			}}}
		}
	}
	if why := in.st.NewerLeader; why != "" {
		return verdict{stop: true, reasons: []Reason{{
			Level: Blocked, Rule: "newerLeaderActs",
			Text: why + "; this cke changes nothing any more",
			Hint: "stop this cke: another one was started from a backup of its state",
		}}}
	}
	return verdict{}
}
