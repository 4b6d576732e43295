package plan

import (
	"slices"

	"cke/internal/cluster"
)

// sendOff takes out a voter that serves and is not wanted any more.
func (in input) sendOff(m cluster.Member, why string) verdict {
	return in.depart(parting{member: m, why: why, does: "goes", stops: in.stopsFirst(m)})
}

// stopsFirst: while gateways lead clients to a voter, it is stopped before it is
// removed. etcd then answers what was asked, and has each client come again by another
// connection. A gateway that ends a connection cannot see what is under way on it, and
// on one that is never quiet something always is. It costs what a restart costs, for a
// moment, and wants the same: that every other voter serves.
func (in input) stopsFirst(m cluster.Member) bool {
	n, known := in.nodeOf(m)
	u := in.node(n.Hostname).Unit
	m.Leader = false // leadership is moved first
	return known && usable(in.node(n.Hostname)) && u != nil && u.Running && u.Unit.Member == m.ID &&
		slices.ContainsFunc(in.spec.Nodes, func(n cluster.Node) bool { return n.Gateway }) && stopFirstUnsafe(in.st.Etcd, m) == ""
}

// stopFirstUnsafe says why a voter must not be stopped before it is removed, or
// nothing. Of one or two voters none can be spared.
func stopFirstUnsafe(e cluster.EtcdState, m cluster.Member) string {
	if tooFew(e) {
		return noneToSpare(e)
	}
	return restartUnsafe(e, m, false)
}

// stopping: a step under way stops the member, whose gateways leave its connections to
// etcd until it is out.
func (in input) stopping(id cluster.MemberID) bool {
	return in.st.Parting != nil && in.st.Parting.Stops && in.st.Parting.Member == id
}
