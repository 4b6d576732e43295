package plan

import (
	"strings"

	"cke/internal/cluster"
)

// ruleStart starts every stopped member that has its data, all at once: after a
// total loss of power none can serve before a quorum of them runs. Without
// quorum the membership is not known for sure; a log of its own is then enough,
// for a member removed meanwhile learns of it from its peers and ends. A member
// that runs unsealed, as when CKE died in its first start, is sealed by this too.
func ruleStart(in input) verdict {
	var v verdict
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		u := ns.Unit
		if !usable(ns) || u == nil || u.Running && u.Sealed || in.heldBack(n.Hostname, *u) || u.DataLost || u.NotMounted != "" || ns.Full() {
			continue
		}
		m, member := in.st.Etcd.MemberAt(n)
		empty := !u.Sealed && !holdsLog(ns, u.Unit.Member)
		switch {
		case in.st.Etcd.Quorum && (!member || m.ID != u.Unit.Member):
			continue
		case empty && (!in.st.Etcd.Quorum || m.Started()):
			continue // only who never voted may begin with nothing
		case empty && !u.Unit.Equal(joiningUnit(in, n, m)):
			continue // installed for another membership; its unit comes first
		case !u.Running && ns.CertificatesBar:
			continue // its files come first (ruleCertificates); without them it ends at once
		case !u.Running && !hasVersion(ns, u.Unit.Version):
			in.needVersion(&v, n, u.Unit.Version)
			continue
		}
		// A step for each, so that one that keeps ending holds no other back.
		v.steps = append(v.steps, Step{Kind: StartMembers, Nodes: []cluster.NodeName{n.Hostname}, Reason: stoppedBecause(u)})
	}
	return v
}

func stoppedBecause(u *cluster.UnitState) string {
	why := "the member is stopped and its data is there"
	if u.Running {
		why = "the member runs and is not sealed yet"
	}
	if u.Exit == "" || u.Running {
		return why
	}
	why = "the member ended: " + u.Exit
	// Who was killed, or ended while nobody looked, said nothing about it.
	if log := strings.TrimSpace(u.Log); log != "" && strings.HasPrefix(u.Exit, "exit status") {
		why += ": " + strings.ReplaceAll(log, "\n", " / ")
	}
	return why
}

// heldBack: another rule has the member stay stopped, or starts it itself.
func (in input) heldBack(n cluster.NodeName, u cluster.UnitState) bool {
	return in.drained(n) || in.isCorrupt(u.Unit.Member) || in.rollsBack(n)
}
