package plan

import "cke/internal/cluster"

// ruleLeaving lets a node go once its member is out and its data aside. Until
// then the node keeps its access data. A machine that was told to reboot may go at any
// moment: it is followed until it is back, for a node that is forgotten and comes
// into the spec again meanwhile would get a member, and the next machine be rebooted
// beside it.
func ruleLeaving(in input) verdict {
	var v verdict
	for _, n := range in.st.Leaving {
		ns := in.node(n.Hostname)
		_, member := in.st.Etcd.MemberAt(n)
		if !usable(ns) || member || ns.Unit != nil || len(ns.Data) > 0 || ns.Gateway != nil || in.toldToReboot(n.Hostname) {
			continue
		}
		v.steps = append(v.steps, Step{
			Kind: ForgetNode, Nodes: []cluster.NodeName{n.Hostname},
			Reason: "its member is out and its data is aside",
		})
	}
	return v
}
