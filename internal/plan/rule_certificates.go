package plan

import (
	"strings"

	"cke/internal/cluster"
)

// ruleCertificates keeps the files of every member right. etcd reads leaves at
// each handshake, so no restart is needed.
func ruleCertificates(in input) verdict {
	var nodes []cluster.NodeName
	var why []string
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		if !usable(ns) || len(ns.Certificates) == 0 || !carriesMember(in, n, ns) {
			continue
		}
		nodes = append(nodes, n.Hostname)
		why = append(why, string(n.Hostname)+": "+strings.Join(ns.Certificates, ", "))
	}
	if len(nodes) == 0 {
		return verdict{}
	}
	return verdict{steps: []Step{{Kind: InstallCertificates, Nodes: nodes, Reason: strings.Join(why, "; ")}}}
}

// carriesMember: the membership names the node, or, when the membership is not
// known for sure, a unit stands there.
func carriesMember(in input, n cluster.Node, ns cluster.NodeState) bool {
	if in.st.Etcd.Quorum {
		_, ok := in.st.Etcd.MemberAt(n)
		return ok
	}
	return ns.Unit != nil
}
