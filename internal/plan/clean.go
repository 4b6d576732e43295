package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// CleanRefused says why everything of CKE's may not be removed from a node now,
// and what to do about it; empty when it may. What was set aside goes as well, so
// the cluster must be known to live without it. The host's own guard asks again
// whether anything of a member is there.
func CleanRefused(spec cluster.Spec, st cluster.State, n cluster.Node, ns cluster.NodeState) (why, hint string) {
	in := newInput(spec, st, st.At)
	if why, hint = in.notWithoutIt(n); why != "" {
		return why, hint
	}
	switch {
	case !ns.Reachable():
		return "its host does not answer: " + ns.Err, "bring it back; once its machine is gone for good, ckecli node clean " + string(n.Hostname) + " --forget drops its record"
	case ns.Fenced != "":
		return ns.Fenced, "ckecli node claim " + string(n.Hostname)
	case ns.Unit != nil || len(ns.Data) > 0:
		return "its host carries " + describeData(ns), "cke moves that aside first; ckecli plan says what it waits for"
	case in.inSpec(n) && n.ControlPlane && in.isWanted(n):
		return "it is to carry a member", "take it out of cluster.yml first"
	}
	return "", ""
}

// ForgetRefused says why the access data of a node may not be dropped without its
// machine being cleaned; empty when it may.
func ForgetRefused(spec cluster.Spec, st cluster.State, n cluster.Node, left bool) (why, hint string) {
	in := newInput(spec, st, st.At)
	switch {
	case left:
		return "", ""
	case in.inSpec(n):
		return "it is in the spec", "take it out of cluster.yml first"
	}
	return in.notWithoutIt(n)
}

func (in input) inSpec(n cluster.Node) bool {
	for _, s := range in.spec.Nodes {
		if s.Hostname == n.Hostname && s.Address == n.Address {
			return true
		}
	}
	return false
}

// notWithoutIt: the cluster may still need what is on the node.
func (in input) notWithoutIt(n cluster.Node) (why, hint string) {
	e := in.st.Etcd
	m, member := e.MemberAt(n)
	switch {
	case in.st.Bootstrap.Phase != cluster.PhaseBootstrapped:
		return "the cluster is not founded yet", "what was set aside may be all there is of an older one"
	case e.Mixed != "" || e.ClusterID != 0 && e.ClusterID != in.st.Bootstrap.ClusterID:
		return "it is not the recorded cluster that answers", "ckecli status tells what is wrong"
	case member:
		return fmt.Sprintf("it carries member %s", m.ID), "take it out of cluster.yml first"
	case !e.Quorum:
		return "the cluster has no quorum, and what was set aside there may be the last copy of its data", "ckecli status tells what is wrong"
	}
	return "", ""
}
