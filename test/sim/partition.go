package sim

import (
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// Partitions of the network between the machines into two groups, each of several.
// Who can be elected by those on its side goes on; the others reach no leader. cke
// reaches both, or only one.

// parting is how the machines are parted now.
type parting struct {
	is   bool
	main int // the side on which there is, or can be, a leader
	// blind is since when the newest cke reaches no voter that serves; zero: it does.
	blind time.Time
}

// cut: the machine is on the side without a leader.
func (m *machine) cut() bool { return m.w.parting.is && m.side != m.w.parting.main }

// apart: two machines are on different sides.
func (m *machine) apart(o *machine) bool { return m.w.parting.is && m.side != o.side }

// part puts the machines with these names on one side and all others on the other;
// off: cke reaches only those others.
func (w *World) part(names string, off bool) {
	w.heal()
	some := strings.Split(names, ",")
	for _, m := range w.all() {
		m.side, m.afar = 0, false
		if slices.Contains(some, string(m.name())) {
			m.side, m.afar = 1, off
		}
		if m.afar {
			m.changed() // sessions end
		}
	}
	w.parting.is, w.parting.main = true, 0
	for _, m := range w.all() {
		if m.proc != nil && m.proc.unit.Member == w.raft.leader {
			w.parting.main = m.side
		}
	}
	w.chooseSide()
	for _, m := range w.all() {
		if m.struck = w.raft.at; m.cut() && m.afar && m.open() {
			m.gone = w.raft.at // its peers hear no end of anything
		}
	}
}

// heal joins the two sides again.
func (w *World) heal() {
	if !w.parting.is {
		return
	}
	for _, m := range w.all() {
		cut := m.cut()
		if m.afar {
			m.afar, m.gone = false, time.Time{}
		}
		if cut {
			m.met()
		}
	}
	w.parting.is = false
}

// chooseSide finds the side on which there is a leader, or can be one.
func (w *World) chooseSide() {
	p := &w.parting
	if !p.is || w.led() || w.canElect() {
		return
	}
	p.main = 1 - p.main
	if !w.canElect() {
		p.main = 1 - p.main
		return
	}
	w.mark("a leader on the other side")
}

func (w *World) led() bool {
	l := w.lead()
	return l != nil && follows(l.proc.replica, replicasOf(w.members()))
}

func (w *World) canElect() bool {
	ms := w.members()
	all := replicasOf(ms)
	return slices.ContainsFunc(ms, func(m *machine) bool { return electable(m.proc.replica, m.proc.unit.Member, all) })
}

// look notes since when cke reaches no voter that serves.
func (w *World) look() {
	l := w.lead()
	sees := slices.ContainsFunc(w.members(), func(m *machine) bool { return m.answers() && w.reads(m, l) })
	switch {
	case sees:
		w.parting.blind = time.Time{}
	case w.parting.blind.IsZero():
		w.parting.blind = w.raft.at
	}
}

// judgeBlindStop: who reaches no quorum does not know whom it needs, and stops nobody.
func (w *World) judgeBlindStop(m *machine) {
	since := w.parting.blind
	if since.IsZero() || w.raft.at.Sub(since) < w.takes() || !w.raft.agreed.votes(m.proc.unit.Member) || w.mayInterrupt(m) {
		return
	}
	if len(w.raft.agreed.voters()) <= 2 && w.rollsBack(m) {
		return // nobody serves before it does
	}
	w.violate("nothingIsStoppedBlind", "voter %s is stopped by who has reached no quorum for %s", m.proc.unit.Member, w.raft.at.Sub(since))
}

// judgeBlindRetire: nor is anything taken away that may be somebody's.
func (w *World) judgeBlindRetire(m *machine, id cluster.MemberID) {
	if since := w.parting.blind; !since.IsZero() && w.raft.at.Sub(since) > w.takes() && w.shelf.boot.Phase == cluster.PhaseBootstrapped {
		w.violate("nothingIsStoppedBlind", "the data of member %s on %s is moved aside by who has reached no quorum for %s", id, m.name(), w.raft.at.Sub(since))
	}
}

// mark counts what happens in a world, so that it can be known that it does.
func (w *World) mark(what string) { w.marks[what]++ }
