package plan

import (
	"reflect"

	"cke/internal/cluster"
)

// badSetting is one with which no etcd starts. The host knows the flag: only its
// value is wrong.
func badSetting() map[string]string { return map[string]string{"heartbeat-interval": "never"} }

func worksWith(u cluster.Unit) bool { return len(u.ExtraArgs) == 0 }

// restartDone mirrors the Done of each of the three steps.
func (s *sim) restartDone(step Step) (bool, error) {
	if step.Kind == FinishRestart {
		return s.store.restart == nil, nil
	}
	ns := s.facts(s.hosts[step.Nodes[0]])
	if !ns.Reachable() {
		return false, errAway
	}
	runs := func(want cluster.Unit) bool {
		return ns.Unit != nil && ns.Unit.Unit.Equal(want) && ns.Unit.Started != nil && ns.Unit.Started.SameSettings(want) && !ns.Unit.StaleCA
	}
	if step.Kind == RestartMember {
		return runs(step.Restart.To), nil
	}
	return s.store.restart != nil && s.store.restart.Failed != "" && runs(step.Restart.From), nil
}

// restart follows the two steps that restart a member, effect by effect.
func (h *hand) restart(step Step) error {
	s := h.s
	b, r := s.hosts[step.Nodes[0]], *step.Restart
	put := func() error {
		return h.does("record the restart of "+string(r.Node), func() error { s.store.restart = &r; return nil })
	}
	install := func(u cluster.Unit) error { return h.installUnit(b, copyUnit(u)) }
	if step.Kind == RollBackMember {
		r.At = s.now
		if err := put(); err != nil {
			return err
		}
		if err := install(r.From); err != nil {
			return err
		}
	} else {
		if r.From.SameSettings(r.To) && b.proc != nil && !b.proc.staleCA {
			s.t.Fatalf("%s is restarted with the settings it has", r.Node)
		}
		if old := s.store.restart; old != nil && old.Failed != "" && old.To.SameSettings(r.To) {
			s.t.Fatalf("%s is restarted with settings that failed before", r.Node)
		}
		r.At = s.now
		if err := put(); err != nil {
			return err
		}
		if err := install(r.To); err != nil {
			return err
		}
	}
	h.interrupts = step.Kind == RollBackMember || len(s.raft.agreed.voters()) <= 2
	defer func() { h.interrupts = false }()
	if err := h.stopUnit(b); err != nil {
		return err
	}
	return h.startUnit(b)
}

func (s *sim) dropRestart(r cluster.Restart) {
	if s.store.restart != nil && reflect.DeepEqual(*s.store.restart, r) {
		s.store.restart = nil
	}
}

// asksToInterrupt: the settings were changed by a person, and of so few voters
// none can be spared.
func (s *sim) asksToInterrupt(step Step) bool {
	if step.Kind == StopMember {
		return step.Drain.Interrupt && len(s.raft.agreed.voters()) <= 2
	}
	return step.Kind == RestartMember && len(s.raft.agreed.voters()) <= 2 && step.Tolerance.After == step.Tolerance.Before
}

// rashRestart says why a restart of a fresh plan is wrong, or nothing.
func (s *sim) rashRestart(step Step) string {
	r := step.Restart
	b, voters := s.hosts[r.Node], s.raft.agreed.voters()
	if step.Kind == RollBackMember {
		if !worksWith(r.From) && worksWith(r.To) {
			return "what worked is taken away"
		}
		return ""
	}
	up := 0
	for _, p := range s.connected() {
		if s.raft.agreed.votes(p.unit.Member) && p.unit.Member != r.Member {
			up++
		}
	}
	switch {
	case !b.runs(r.Member):
		return "it does not run"
	case len(voters) > 2 && !r.Down && up < len(voters)-1:
		return "another voter does not serve"
	case len(voters) > 2 && up < cluster.Quorum(len(voters)):
		return "quorum would be lost"
	case len(voters) > 2 && s.raft.leader == r.Member:
		return "it leads"
	}
	return ""
}
