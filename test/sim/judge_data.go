package sim

import (
	"cke/internal/cluster"
	"cke/internal/plan"
)

// What no cke may do as long as data is missing, or lies where it does not belong.

// judgeDataLeft is of a voter that is removed: of those that are left a quorum has its
// data, as far as their hosts have said. A process that runs on deleted files serves and
// votes, and all it holds is gone with its end: it may be what is removed, but nobody
// else who may come back is as if it could be counted on.
func (w *World) judgeDataLeft(c *CKE, id cluster.MemberID) {
	d := c.onRecord(func(s plan.Step) bool { return s.Kind == plan.RemoveMember && s.Member == id })
	p, _ := w.raft.agreed.find(id)
	m := w.byPeerURL(p.url)
	if d == nil || m == nil || p.learner || d.step.DataLost || w.saidLost(c, d, id) || w.deadForLong(c, m, id) {
		return
	}
	left, lost := 0, []cluster.MemberID(nil)
	for _, p := range w.raft.agreed.voters() {
		switch {
		case p.id == id:
		case w.saidLost(c, d, p.id):
			lost = append(lost, p.id)
		default:
			left++
		}
	}
	if voters := len(w.raft.agreed.voters()) - 1; len(lost) > 0 && left < cluster.Quorum(voters) {
		w.violate("dataOfAQuorumIsKept", "voter %s is removed, and of the other %d the data of %v is gone, as their hosts had said", id, voters, lost)
	}
}

// saidLost: a member's host had said that its data is gone, before the step was decided.
func (w *World) saidLost(c *CKE, d *deed, id cluster.MemberID) bool {
	p, _ := w.raft.agreed.find(id)
	m := w.byPeerURL(p.url)
	if m == nil {
		return false
	}
	f, told := c.deeds.toldBefore(m, d.look)
	return told && f.Unit != nil && f.Unit.Unit.Member == id && f.Unit.DataLost
}

// judgeStopOnRecord: who is stopped is the member that a step under way is about. What a
// removal says of how it goes about it is sure at its first attempt only.
func (w *World) judgeStopOnRecord(c *CKE, m *machine) {
	id := m.proc.unit.Member
	d := c.onRecord(func(s plan.Step) bool {
		switch s.Kind {
		case plan.RestartMember, plan.RollBackMember, plan.StopMember, plan.RetireMember, plan.RemoveMember:
			return s.Member == id
		default:
			return false
		}
	})
	if d == nil || d.step.Kind == plan.RemoveMember && !d.step.StopFirst && d.failed == 0 {
		w.violate("everyChangeIsOnRecord", "member %s is stopped on %s, and no step under way says so", id, m.name())
	}
}

// judgeOtherStop is of a stop that the machine refuses, for its unit is another member's:
// who had been told which could know.
func (w *World) judgeOtherStop(c *CKE, m *machine, id cluster.MemberID) {
	d := c.onRecord(func(s plan.Step) bool { return s.Member == id })
	if d == nil {
		return
	}
	if f, told := c.deeds.toldBefore(m, d.look); told && f.Unit != nil && f.Unit.Unit.Member != id {
		w.violate("onlyItsOwnMemberIsStopped", "member %s is to be stopped on %s, which had said that its unit is member %s", id, m.name(), f.Unit.Unit.Member)
	}
}
