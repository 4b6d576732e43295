package sim

import "cke/internal/cluster"

// A unit is two files with systemd: its own, by which the machine starts a member, and
// the helper's record. Whoever is killed in between leaves them different.

// halfInstalled counts what a host has told of one.
const halfInstalled = "a half installed unit"

// inSystemd is in the name of the effect by which a unit is half installed.
const inSystemd = " in systemd"

// lasting is what systemd's own file says of a unit: the founding is over.
func lasting(u cluster.Unit) cluster.Unit {
	u.Founding = nil
	return u
}

// keep has the machine itself start a member with this from now on.
func (m *machine) keep(u cluster.Unit) {
	if m.runtime() == cluster.RuntimeSystemd {
		u = lasting(u)
		m.file = &u
	}
}

// halfInstalled: the machine would start its member with another unit than is on record.
// Before a member is sealed it starts none.
func (m *machine) halfInstalled() bool {
	return m.runtime() == cluster.RuntimeSystemd && m.unit != nil && m.seals[m.unit.Member] && !m.keeps(*m.unit)
}

func (m *machine) keeps(u cluster.Unit) bool { return m.file != nil && m.file.Equal(lasting(u)) }
