package cluster

// WantedVoters is how many voters the spec asks for: etcd.members, or every
// control-plane node.
func (s Spec) WantedVoters() int {
	nodes := 0
	for _, n := range s.Nodes {
		if n.ControlPlane {
			nodes++
		}
	}
	if s.Etcd.Members > 0 && s.Etcd.Members < nodes {
		return s.Etcd.Members
	}
	return nodes
}
