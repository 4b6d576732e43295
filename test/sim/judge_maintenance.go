package sim

import (
	"context"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// What no cke may do to nodes under maintenance, and to machines that are rebooted.

// judgeDrainedStart: a member that a person has taken out of service is started by
// nobody but its machine. A restart that was under way goes on, for as many answers as a
// slow host takes.
func (w *World) judgeDrainedStart(c *CKE, m *machine) {
	since, is := w.drained(m.name())
	d := c.onRecord(func(s plan.Step) bool {
		return (s.Kind == plan.RestartMember || s.Kind == plan.RollBackMember) && slices.Contains(s.Nodes, m.name())
	})
	begun := d != nil && d.since.Before(since)
	if is && !begun && time.Since(since) > w.takes() && !w.undrainedLately(m.name()) {
		w.violate("drainedIsLeftAlone", "the member on %s is started, and its node is drained since %s ago", m.name(), time.Since(since))
	}
}

// judgeDrainedAdd: nor does such a node get one.
func (w *World) judgeDrainedAdd(m *machine) {
	if since, is := w.drained(m.name()); is && time.Since(since) > w.takes() {
		w.violate("drainedIsLeftAlone", "a learner is added for %s, whose node is drained since %s ago", m.name(), time.Since(since))
	}
}

// undrainedLately: what is done now may be meant for the time between two drains.
func (w *World) undrainedLately(n cluster.NodeName) bool {
	for _, d := range w.shelf.drains {
		if d.Node == n && time.Since(w.drainedAt[n]) < w.takes() {
			return true
		}
	}
	return false
}

// mayDrain: a person accepts that of one or two voters none can be spared.
func (w *World) mayDrain(m *machine) bool {
	for _, d := range w.shelf.drains {
		if d.Node == m.name() && d.Interrupt {
			return len(w.raft.agreed.voters()) <= 2
		}
	}
	return false
}

// judgeDrainStop is of a stop for maintenance: the others are a quorum, another
// leads, and clients go elsewhere. It tells whether it was one.
func (w *World) judgeDrainStop(ctx context.Context, c *CKE, m *machine) bool {
	if _, is := w.drained(m.name()); !is {
		return false
	}
	id, voters := m.proc.unit.Member, len(w.raft.agreed.voters())
	if others := w.servingVoters(id); others < cluster.Quorum(voters) {
		w.violate("quorumIsKept", "voter %s is stopped for maintenance, and of the other %d only %d serve", id, voters-1, others)
	}
	w.judgeLedAway(ctx, c, m, "stopped for maintenance")
	w.judgeGatewaysLeadAway(m, "stopped for maintenance", false)
	return true
}

// judgeReboot: a machine goes only for a request that still stands, drained, and one
// at a time of those that carry voters.
func (w *World) judgeReboot(m *machine) {
	r := w.shelf.reboot
	if r == nil || !r.Ends(m.bootName()) {
		w.violate("rebootedOnlyOnRequest", "%s is rebooted, and nobody asks for that", m.name())
		return
	}
	if _, is := w.drained(m.name()); !is {
		w.violate("rebootedOnlyWhenDrained", "%s is rebooted, and its node is in service", m.name())
	}
	own := cluster.MemberID(0)
	for _, p := range w.raft.agreed.voters() {
		o := w.byPeerURL(p.url)
		if o == m {
			own = p.id
		} else if o != nil && o.rebooting {
			w.violate("oneMachineRebootsAtATime", "%s is rebooted while %s, which carries a voter, is not back", m.name(), o.name())
		}
	}
	if voters := len(w.raft.agreed.voters()); own != 0 && w.servingVoters(own) < cluster.Quorum(voters) && !w.mayDrain(m) {
		w.violate("quorumIsKept", "%s is rebooted, and of the other %d voters only %d serve", m.name(), voters-1, w.servingVoters(own))
	}
}
