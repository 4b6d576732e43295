package cluster

import (
	"fmt"
	"net/netip"
	"slices"
)

// ValidateChange returns what is dangerous in going from old to s, all at once.
// Leaving are nodes gone from the spec whose member or data is not yet out.
// It looks at the change only; s is validated by Validate. Before anything of
// the cluster was started (PhaseNew) every change is safe and this need not be
// asked: there a version that cannot be installed must be correctable.
func (s Spec) ValidateChange(old Spec, leaving []Node) []Problem {
	s, old = s.WithDefaults(), old.WithDefaults()
	var ps problems
	if s.Name != old.Name {
		ps.add("name", "name may not change from %s to %s: it is part of every unit, directory and certificate of the cluster", old.Name, s.Name)
	}
	if s.ClusterDomain != old.ClusterDomain {
		ps.warn("cluster_domain", "cluster_domain changes from %s to %s: server certificates are issued again, and clients that use names under %s no longer trust them",
			old.ClusterDomain, s.ClusterDomain, old.ClusterDomain)
	}
	s.validateIdentities(&ps, old.Nodes, leaving)
	if s.Etcd.Version != old.Etcd.Version {
		s.validateVersionChange(&ps, old.Etcd.Version)
	}
	if s.Etcd.Quota < old.Etcd.Quota {
		ps.warn("etcd.quota", "quota shrinks from %s to %s: a member whose data is larger stops accepting writes when it is next started", old.Etcd.Quota, s.Etcd.Quota)
	}
	if p, was := s.Kubernetes.GatewayPort, old.Kubernetes.GatewayPort; p != was && slices.ContainsFunc(old.Nodes, func(n Node) bool { return n.Gateway }) {
		ps.warn("kubernetes.gateway_port", "gateway_port changes from %d to %d: what uses a gateway loses it until it is told of the new port", was, p)
	}
	return ps
}

func (s Spec) validateVersionChange(ps *problems, old string) {
	if why := VersionPath(old, s.Etcd.Version); why != "" {
		ps.add("etcd.version", "version may not change from %s to %s: %s", old, s.Etcd.Version, why)
	} else if MinorOf(s.Etcd.Version).Before(MinorOf(old)) {
		ps.warn("etcd.version", "version goes down from %s to %s: through etcd's own downgrade, and what the newer line alone can do is lost", old, s.Etcd.Version)
	}
}

// validateIdentities holds that a hostname and an address stay together. The
// hostname is the member's name and the address its peer URL: with one of them
// exchanged, a new member would be taken for the old one.
func (s Spec) validateIdentities(ps *problems, old, leaving []Node) {
	type known struct {
		node Node
		why  string
	}
	byHost, byAddr := map[NodeName]known{}, map[netip.Addr]known{}
	remember := func(nodes []Node, why string) {
		for _, n := range nodes {
			n.Address = n.Address.Unmap()
			byHost[n.Hostname], byAddr[n.Address] = known{n, why}, known{n, why}
		}
	}
	remember(leaving, "that node is still leaving")
	remember(old, "remove the node first")
	for i, n := range s.Nodes {
		if k, ok := byHost[n.Hostname]; ok && k.node.Address != n.Address {
			ps.add(fmt.Sprintf("nodes[%d].address", i), "the address of %s may not change from %s to %s; %s, or use another hostname",
				n.Hostname, k.node.Address, n.Address, k.why)
		}
		if k, ok := byAddr[n.Address]; ok && k.node.Hostname != n.Hostname {
			ps.add(fmt.Sprintf("nodes[%d].hostname", i), "the hostname at %s may not change from %s to %s; %s, or use another address",
				n.Address, k.node.Hostname, n.Hostname, k.why)
		}
	}
}
