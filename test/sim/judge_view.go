package sim

import (
	"cke/internal/cluster"
	"cke/internal/plan"
)

// What a step is begun by: the look that its daemon has shown to everybody.

// judgeSeen: what that look saw allows the step.
func (w *World) judgeSeen(c *CKE, s plan.Step) {
	v, _ := c.loop.View()
	e := v.State.Etcd
	if v.State.Bootstrap.Phase != cluster.PhaseBootstrapped {
		return
	}
	if !e.Quorum && needsQuorum(s.Kind) {
		w.violate("withoutAQuorumNothingChanges", "%s is begun, and no quorum was seen", s.Key())
	}
	if s.Kind != plan.StartMembers {
		return
	}
	for _, n := range s.Nodes {
		ns := v.State.Nodes[n]
		u := ns.Unit
		if u == nil {
			continue
		}
		m, member := e.Member(u.Unit.Member)
		d, there := ns.Dir(u.Unit.Member)
		switch {
		case e.Quorum && !member:
			w.violate("onlyMembersAreStarted", "member %s is to be started on %s, and is out of the cluster", u.Unit.Member, n)
		case u.DataLost || u.NotMounted != "":
			w.violate("noStartWithoutItsData", "member %s is to be started on %s, where its data is not", u.Unit.Member, n)
		case !u.Sealed && !(there && d.WAL) && (!e.Quorum || m.Started()):
			w.violate("noStartWithoutItsData", "member %s is to be started on %s on nothing, and may have voted", u.Unit.Member, n)
		}
	}
}

// needsQuorum: what rests on who is a member, as a quorum says.
func needsQuorum(k plan.Kind) bool {
	switch k {
	case plan.AddLearner, plan.PromoteLearner, plan.MoveLeader, plan.RemoveMember, plan.RetireMember, plan.RestartMember, plan.ForgetNode,
		plan.ConfigureAuth, plan.Compact, plan.Defragment, plan.DisarmAlarm:
		return true
	default:
		return false
	}
}
