package plan

import "cke/internal/cluster"

// wantedUnit is the unit of a member that has its own data: no founding, so
// that it can be started on that data only.
func wantedUnit(spec cluster.Spec, n cluster.Node, id cluster.MemberID) cluster.Unit {
	u := cluster.Unit{
		Cluster: spec.Name, Node: n.Hostname, Member: id, Address: n.Address,
		Version: spec.Etcd.Version, Quota: spec.Etcd.Quota,
		ExtraArgs: spec.Etcd.ExtraArgs, ExtraEnv: spec.Etcd.ExtraEnv,
	}
	// Units that were installed before there was a choice say nothing of it.
	if r := spec.Etcd.CompactionRetention; r != cluster.DefaultRetention {
		u.Retention = r
	}
	return u
}

// joiningUnit is the unit of a learner that has never started: its initial
// cluster must be exactly the membership, itself included.
func joiningUnit(in input, n cluster.Node, m cluster.Member) cluster.Unit {
	u := wantedUnit(in.spec, n, m.ID)
	u.Version = in.joinVersion()
	u.Founding = &cluster.Founding{Token: in.st.Bootstrap.Token, Peers: map[cluster.NodeName]string{n.Hostname: n.PeerURL()}}
	for _, o := range in.st.Etcd.Members {
		if o.Started() {
			u.Founding.Peers[cluster.NodeName(o.Name)] = o.PeerURL
		}
	}
	return u
}

func unitStep(units []cluster.Unit, reason string) Step {
	s := Step{Kind: InstallUnits, Units: units, Reason: reason}
	for _, u := range units {
		s.Nodes = append(s.Nodes, u.Node)
	}
	return s
}
