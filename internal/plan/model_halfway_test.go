package plan

import (
	"slices"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// On a machine with systemd a unit is two files: systemd's own, by which the machine
// starts a member, and the helper's record. Whoever is killed in between leaves them
// different.

// lasting is what systemd's own file says of a unit: the founding is over.
func lasting(u cluster.Unit) *cluster.Unit {
	u = copyUnit(u)
	u.Founding = nil
	return &u
}

// ofSystemd: the machine starts its member by itself.
func (b *box) ofSystemd() bool { return b.node.User != "" }

func (b *box) keeps(u cluster.Unit) bool { return b.file != nil && b.file.Equal(*lasting(u)) }

// keep has the machine start a member with this from now on.
func (b *box) keep(u cluster.Unit) {
	if b.ofSystemd() {
		b.file = lasting(u)
	}
}

// halfInstalled: before a member is sealed the machine starts none.
func (b *box) halfInstalled() bool {
	return b.ofSystemd() && b.unit != nil && b.seals[b.unit.Member] && !b.keeps(*b.unit)
}

// startsItself is what the machine does when it boots, and after each end.
func (s *sim) startsItself(b *box) {
	if u := b.file; u != nil && b.proc == nil && b.seals[u.Member] && b.hasData(u.Member) && !b.noVersion {
		if err := s.run(b, *u); err != nil {
			s.logf("  %v", err)
		}
	}
}

// halfway follows a change of settings that is cut short: chance alone hardly ever meets
// the moment between the two files, and then a spec that goes back.
func (s *sim) halfway(t *rapid.T) {
	if rapid.Bool().Draw(t, "settled") {
		s.repair()
		s.rest()
	}
	before := s.store.spec.Etcd
	spec := s.store.spec
	if spec.Etcd.Quota++; rapid.IntRange(0, 3).Draw(t, "bad") == 0 {
		spec.Etcd.ExtraArgs = badSetting()
	}
	if err := s.setSpec(spec); err != nil {
		return
	}
	w := newWheel(s)
	p, i := s.look(), -1
	for range 8 { // its endpoint is withdrawn first, and the leader moved
		if i = slices.IndexFunc(p.Steps, func(o Step) bool { return o.Kind == RestartMember }); i >= 0 {
			break
		}
		w.round()
		p = s.look()
	}
	if i < 0 {
		return
	}
	b := s.hosts[p.Steps[i].Nodes[0]]
	s.logf("CKE is cut short: %s", p.Steps[i].Key())
	err := (&hand{s: s, left: rapid.SampledFrom([]int{1, 2, 2, 2, 3}).Draw(t, "effects")}).apply(p.Steps[i])
	s.logf("  %v; half installed: %v", orOK(err), b.halfInstalled())
	s.eyes = newEyes()
	if rapid.Bool().Draw(t, "ends") {
		b.proc = nil
		s.startsItself(b)
		s.settle()
	}
	spec = s.store.spec
	if spec.Etcd = before; rapid.IntRange(0, 2).Draw(t, "goes on") > 0 {
		_ = s.setSpec(spec) // where it is refused, it goes on
	}
}
