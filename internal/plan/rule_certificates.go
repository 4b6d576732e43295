package plan

import (
	"cke/internal/cluster"
)

// ruleCertificates keeps the files of every member right. etcd reads leaves at
// each handshake, so no restart is needed. In a founded cluster with quorum, what
// still works is replaced on one node after another.
func ruleCertificates(in input) verdict {
	var all []flawed
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		if !usable(ns) || len(ns.Certificates) == 0 || !carriesMember(in, n, ns) {
			continue
		}
		all = append(all, flawed{n.Hostname, ns.Certificates, ns.CertificatesFail})
	}
	if in.st.Bootstrap.Phase != cluster.PhaseBootstrapped || !in.st.Etcd.Quorum {
		for i := range all {
			all[i].fails = true // nobody can be shown that they still work
		}
	}
	return in.reissue(InstallCertificates, all)
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
