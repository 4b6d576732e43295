package plan

import (
	"time"

	"cke/internal/cluster"
)

// Endpoints is what clients are to be told of the members: every voter on a known
// node, in the order of the nodes. A learner is none. It is pure, as Decide is.
func Endpoints(spec cluster.Spec, st cluster.State, now time.Time) []cluster.Endpoint {
	in := newInput(spec, st, now)
	var out []cluster.Endpoint
	for _, n := range in.nodes {
		m, ok := st.Etcd.MemberAt(n)
		if !ok || m.Learner {
			continue
		}
		out = append(out, cluster.Endpoint{
			Member: m.ID, Node: n.Hostname, Address: n.Address.Unmap(), Zone: n.Zone, KubernetesNode: n.KubernetesNode,
			Ready: m.Healthy, Serving: m.Healthy,
		})
	}
	return out
}
