package plan

import (
	"strings"

	"cke/internal/cluster"
)

// ruleAPIServer keeps the API server's client certificate right on the nodes
// that ask for it. None leaves before the cluster is founded. What still works is
// replaced on one node at a time, so that one bad certificate stops one API server.
func ruleAPIServer(in input) verdict {
	if in.st.Bootstrap.Phase != cluster.PhaseBootstrapped {
		return verdict{}
	}
	var all []flawed
	for _, n := range in.spec.Nodes {
		if ns := in.node(n.Hostname); n.APIServer && usable(ns) && len(ns.APIServer) > 0 {
			all = append(all, flawed{n.Hostname, ns.APIServer, ns.APIServerFails})
		}
	}
	return reissue(InstallClientCertificates, all, true)
}

// flawed is a node whose files must be issued again, and whether they fail now.
type flawed struct {
	node  cluster.NodeName
	why   []string
	fails bool
}

// reissue issues files again: at once where they fail, and in turn, one node at a
// time, where they still work.
func reissue(kind Kind, all []flawed, inTurn bool) verdict {
	var now, later []flawed
	for _, f := range all {
		if f.fails || !inTurn {
			now = append(now, f)
		} else {
			later = append(later, f)
		}
	}
	if len(now) == 0 && len(later) > 0 {
		now, later = later[:1], later[1:]
	}
	if len(now) == 0 {
		return verdict{}
	}
	s := Step{Kind: kind}
	var why []string
	for _, f := range now {
		s.Nodes = append(s.Nodes, f.node)
		why = append(why, string(f.node)+": "+strings.Join(f.why, ", "))
	}
	s.Reason = strings.Join(why, "; ")
	v := verdict{steps: []Step{s}}
	for _, f := range later {
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "certificateAwaitsItsTurn", Node: f.node,
			Text: "its certificate still works and is replaced after those of others: " + strings.Join(f.why, ", "),
		})
	}
	return v
}
