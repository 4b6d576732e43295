package plan

import (
	"slices"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// drain is a person who asks for maintenance of a node, and is refused as the API
// refuses; undrain asks for its end.
func (s *sim) drain(t *rapid.T) {
	b := s.victim(t)
	d := cluster.Drain{Node: b.node.Hostname, At: s.now, Interrupt: rapid.IntRange(0, 3).Draw(t, "interrupt") == 0}
	if why, _ := DrainRefused(s.store.spec, s.observe(), d); why != "" {
		s.logf("%s is not drained: %s", d.Node, why)
		return
	}
	s.logf("%s is drained", d.Node)
	s.store.drains = append(s.withoutDrain(d.Node), d)
}

func (s *sim) undrain(t *rapid.T) {
	if len(s.store.drains) > 0 {
		s.endDrain(rapid.SampledFrom(s.store.drains).Draw(t, "drain").Node)
	}
}

func (s *sim) endDrain(n cluster.NodeName) {
	s.store.drains = slices.Clone(s.store.drains)
	for i, d := range s.store.drains {
		if d.Node == n && !d.Over() {
			s.logf("%s is drained no more", n)
			s.store.drains[i].Ended = s.now
		}
	}
}

func (s *sim) withoutDrain(n cluster.NodeName) []cluster.Drain {
	return slices.DeleteFunc(slices.Clone(s.store.drains), func(d cluster.Drain) bool { return d.Node == n })
}

func (s *sim) isDrained(n cluster.NodeName) bool {
	return slices.ContainsFunc(s.store.drains, func(d cluster.Drain) bool { return d.Node == n && !d.Over() })
}

// drainDone mirrors the Done of the two steps.
func (s *sim) drainDone(step Step) (bool, error) {
	if step.Kind == FinishDrain {
		return false, nil
	}
	ns := s.facts(s.hosts[step.Nodes[0]])
	if !ns.Reachable() {
		return false, errAway
	}
	return ns.Unit == nil || ns.Unit.Unit.Member != step.Member || !ns.Unit.Running, nil
}

func (h *hand) stopDrained(step Step) error {
	b := h.s.hosts[step.Nodes[0]]
	h.interrupts = step.Drain.Interrupt && len(h.s.raft.agreed.voters()) <= 2
	defer func() { h.interrupts = false }()
	return h.stopUnit(b)
}

func (s *sim) dropDrain(d cluster.Drain) {
	if slices.Contains(s.store.drains, d) {
		s.store.drains = s.withoutDrain(d.Node)
	}
}

// rashStop says why the member of a fresh plan must not be stopped, or nothing.
func (s *sim) rashStop(step Step) string {
	up, voters := 0, s.raft.agreed.voters()
	for _, p := range s.connected() {
		if s.raft.agreed.votes(p.unit.Member) && p.unit.Member != step.Member {
			up++
		}
	}
	switch {
	case !s.isDrained(step.Nodes[0]):
		return "its node is not drained"
	case len(voters) <= 2 && step.Drain.Interrupt:
		return ""
	case up < cluster.Quorum(len(voters)):
		return "quorum would be lost"
	case s.raft.leader == step.Member:
		return "it leads"
	}
	return ""
}
