package cluster

// WantedVoters is how many voters the spec asks for: etcd.members, or every
// control-plane node.
func (s Spec) WantedVoters() int {
	able := s.controlPlaneNodes()
	if s.Etcd.Members > 0 && s.Etcd.Members < able {
		return s.Etcd.Members
	}
	return able
}

func (s Spec) controlPlaneNodes() int {
	n := 0
	for _, node := range s.Nodes {
		if node.ControlPlane {
			n++
		}
	}
	return n
}
