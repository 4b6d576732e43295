package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// ruleRetire stops what no longer belongs to the membership and moves its data
// aside. It needs a linearizable membership: an old list must not retire a
// member that was added since.
func ruleRetire(in input) verdict {
	var v verdict
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		if !usable(ns) || ns.Unit != nil && ns.Unit.NotMounted != "" {
			continue
		}
		for _, id := range membersOnHost(ns) {
			if _, ok := in.st.Etcd.Member(id); ok {
				continue
			}
			v.steps = append(v.steps, Step{
				Kind: RetireMember, Nodes: []cluster.NodeName{n.Hostname}, Member: id,
				Reason: fmt.Sprintf("member %s is not in the cluster any more; its data is moved aside", id),
			})
		}
	}
	return v
}

func membersOnHost(ns cluster.NodeState) []cluster.MemberID {
	var ids []cluster.MemberID
	if ns.Unit != nil {
		ids = append(ids, ns.Unit.Unit.Member)
	}
	for _, d := range ns.Data {
		if ns.Unit == nil || d.Member != ns.Unit.Unit.Member {
			ids = append(ids, d.Member)
		}
	}
	return ids
}
