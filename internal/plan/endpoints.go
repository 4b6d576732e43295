package plan

import (
	"time"

	"cke/internal/cluster"
)

// Endpoints is what clients are to be told of the members: every voter on a known
// node, in the order of the nodes. A learner is none. One that Decide is about to
// take out is terminating, and never all of them are. Before a cluster is founded,
// and of a cluster that is not the recorded one, there are none. It is pure, as
// Decide is.
func Endpoints(spec cluster.Spec, st cluster.State, now time.Time) []cluster.Endpoint {
	return newInput(spec, st, now).prepared().endpoints()
}

func (in input) endpoints() []cluster.Endpoint {
	if in.st.Bootstrap.Phase != cluster.PhaseBootstrapped || ruleIdentity(in).stop {
		return nil
	}
	var out []cluster.Endpoint
	for _, n := range in.nodes {
		m, ok := in.st.Etcd.MemberAt(n)
		if !ok || m.Learner {
			continue
		}
		terminating := m.ID == in.outgoing.member && in.othersServe(m)
		out = append(out, cluster.Endpoint{
			Member: m.ID, Node: n.Hostname, Address: n.Address.Unmap(), Zone: n.Zone, KubernetesNode: n.KubernetesNode,
			Ready: m.Healthy && !terminating, Serving: m.Healthy, Terminating: terminating, Restarting: terminating && in.outgoing.stops,
		})
	}
	return out
}

// othersServe says whether clients have another voter to go to. They know only
// of those on known nodes.
func (in input) othersServe(m cluster.Member) bool {
	for _, o := range in.st.Etcd.HealthyVoters() {
		if _, known := in.nodeOf(o); known && o.ID != m.ID {
			return true
		}
	}
	return false
}
