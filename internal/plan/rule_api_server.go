package plan

import (
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
	return in.reissue(InstallClientCertificates, all)
}
