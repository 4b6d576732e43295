package sim

import "cke/internal/cluster"

// judgeUnit is of a unit that a running voter gets: whatever ends its process from
// then on starts it with that, so what it works with is on record before.
func (w *World) judgeUnit(m *machine, u cluster.Unit) {
	if !w.raft.agreed.votes(u.Member) || !m.running(u.Member) || !m.seals[u.Member] || m.proc.unit.SameSettings(u) || w.raft.at.Sub(m.proc.up) < w.takes() {
		return // it has just been started with what it kept ending with
	}
	if r := w.shelf.restart; r == nil || r.Node != m.name() {
		w.violate("whatWorkedIsOnRecord", "%s gets a unit with other settings than its member works with, and no record says which those are", m.name())
	}
}
