package plan

import (
	"strings"

	"cke/internal/cluster"
)

// ruleUnits keeps each member's unit as wanted, and never touches a process.
// Other settings are not for it: a member gets them in its turn (ruleRolling),
// with what it last worked with on record. Only one that keeps ending with the
// settings it has gets others at once, for they may mend it.
func ruleUnits(in input) verdict {
	var v verdict
	if !in.st.Etcd.Quorum {
		return mendedUnits(in)
	}
	var units, halves []cluster.Unit
	for _, m := range in.st.Etcd.Members {
		n, ok := in.nodeOf(m)
		ns := in.node(n.Hostname)
		if !ok || !usable(ns) || in.dataLost(m) || ns.Unit != nil && ns.Unit.Unit.Member != m.ID {
			continue
		}
		if !m.Started() && !in.isWanted(n) {
			continue // it is taken back out
		}
		want := wantedUnit(in.spec, n, m.ID)
		if !m.Started() && (ns.Unit == nil || !ns.Unit.Sealed) {
			want = joiningUnit(in, n, m)
		}
		want = mended(ns.Unit, want)
		if u := ns.Unit; u != nil && (u.Unit.Equal(want) || in.keepsItsSettings(n, m, u, want)) {
			if in.stillHalf(n, u) {
				in.installUnit(&v, &halves, n, sealedUnit(u))
			}
			continue
		}
		in.installUnit(&v, &units, n, want)
	}
	if len(units) > 0 {
		v.steps = append(v.steps, unitStep(units, "the installed unit differs from the wanted one"))
	}
	if len(halves) > 0 {
		v.steps = append(v.steps, unitStep(halves, halfInstalled))
	}
	return v
}

func (in input) installUnit(v *verdict, units *[]cluster.Unit, n cluster.Node, want cluster.Unit) {
	if !hasVersion(in.node(n.Hostname), want.Version) {
		in.needVersion(v, n, want.Version)
		return
	}
	*units = append(*units, want)
}

// keepsItsSettings: the member has its data and runs, or will run again, with the
// settings it has. It gets others in its turn.
func (in input) keepsItsSettings(n cluster.Node, m cluster.Member, u *cluster.UnitState, want cluster.Unit) bool {
	if u.Started != nil && u.Started.SameSettings(want) {
		return false // it was never restarted, and need not be any more
	}
	joined := u.Sealed || m.Started() // cke may have been killed before it was sealed
	return joined && !u.Unit.SameSettings(want) && (in.underRestart(n.Hostname) || in.rollsBack(n.Hostname) || !keepsEnding(u))
}

// mendedUnits lets a person mend, by a spec edit, what keeps members from
// starting, and finishes what was begun. It changes settings only, so it needs no
// membership. What runs with the unit that was being installed keeps that for now: it
// may be of a newer etcd, and its data with it.
func mendedUnits(in input) verdict {
	var v verdict
	var units, halves []cluster.Unit
	for _, n := range in.nodes { // one that leaves may be needed for the quorum
		ns := in.node(n.Hostname)
		u := ns.Unit
		if !usable(ns) || u == nil || !u.Sealed || u.DataLost || u.NotMounted != "" {
			continue
		}
		want := u.Unit
		if keepsEnding(u) && !in.underRestart(n.Hostname) && !in.rollsBack(n.Hostname) {
			want = mended(u, wantedUnit(in.spec, n, u.Unit.Member))
		}
		switch {
		case !u.Unit.SameSettings(want):
			in.installUnit(&v, &units, n, want)
		case in.stillHalf(n, u) && (u.Started == nil || u.Started.SameSettings(u.Unit)):
			in.installUnit(&v, &halves, n, sealedUnit(u))
		}
	}
	if len(units) > 0 {
		v.steps = append(v.steps, unitStep(units, "the member keeps ending, and the spec now says other settings"))
	}
	if len(halves) > 0 {
		v.steps = append(v.steps, unitStep(halves, halfInstalled))
	}
	return v
}

// halfInstalled: whoever did it was killed, or the machine's disk was full.
const halfInstalled = "another unit was being installed, and the machine may start the member with that"

// stillHalf: the unit it has is to be installed once more. Where it is rolled back that
// is what it does not serve with, and the other is installed by the way back.
func (in input) stillHalf(n cluster.Node, u *cluster.UnitState) bool {
	return u.Unfinished && !in.rollsBack(n.Hostname)
}

// sealedUnit is the unit a sealed member has, without the founding that is over.
func sealedUnit(u *cluster.UnitState) cluster.Unit {
	unit := u.Unit
	unit.Founding = nil
	return unit
}

// mended is the wanted unit of a member that keeps ending. Another line of etcd is
// no mending: only ruleVersion knows whether its data allows it.
func mended(u *cluster.UnitState, want cluster.Unit) cluster.Unit {
	if u != nil && u.Sealed && keepsEnding(u) && cluster.MinorOf(u.Unit.Version) != cluster.MinorOf(want.Version) {
		want.Version = u.Unit.Version
	}
	return want
}

// keepsEnding: the last process ended by itself. Who was killed says nothing
// about its settings.
func keepsEnding(u *cluster.UnitState) bool {
	return !u.Running && strings.HasPrefix(u.Exit, "exit status")
}
