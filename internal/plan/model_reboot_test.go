package plan

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// askReboot asks for a reboot of some machines, as a person does and the API lets them.
func (s *sim) askReboot(t *rapid.T) {
	if s.store.reboot != nil {
		return
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(s.cared()), 1, 2, rapid.ID).Draw(t, "machines")
	r := cluster.Reboot{Nodes: names, At: s.now, Interrupt: rapid.IntRange(0, 3).Draw(t, "interrupt") == 0}
	if why, _ := RebootRefused(s.store.spec, s.observe(), r); why != "" {
		s.logf("%v are not rebooted: %s", names, why)
		return
	}
	s.logf("%v are to be rebooted", names)
	s.store.reboot = &r
}

// cancelReboot mirrors what the API does.
func (s *sim) cancelReboot() {
	s.store.reboot = nil
	for _, d := range s.store.drains {
		if d.Reboot {
			s.endDrain(d.Node)
		}
	}
}

func (b *box) boot() string { return fmt.Sprintf("boot-%d", b.boots+1) }

// rebootStep follows the four steps of a reboot.
func (h *hand) rebootStep(step Step) error {
	s, name := h.s, step.Nodes[0]
	advance := func(to cluster.Reboot) error {
		return h.does("record how far the reboot is", func() error {
			if s.store.reboot == nil {
				return nil // it was cancelled
			}
			if s.store.reboot = &to; len(to.Done) == len(to.Nodes) {
				s.store.reboot = nil
			}
			return nil
		})
	}
	switch step.Kind {
	case DrainNode, UndrainNode:
		return h.does("record the drain of "+string(name), func() error {
			begun := *step.Drain
			begun.Ended = time.Time{}
			if i := slices.IndexFunc(s.store.drains, func(d cluster.Drain) bool { return d.Node == name }); i < 0 == step.Drain.Over() || i >= 0 && s.store.drains[i] != begun {
				return nil // a person has changed it meanwhile
			}
			s.store.drains = append(s.withoutDrain(name), *step.Drain)
			return nil
		})
	case FinishReboot:
		return advance(step.Reboot.After(name))
	}
	b, to := s.hosts[name], *step.Reboot
	to.Told = s.now
	if slices.ContainsFunc(s.store.drains, func(d cluster.Drain) bool { return d.Node == name && !d.Reboot || d.Node != name && !d.Over() }) {
		return nil // somebody has drained a node meanwhile
	}
	if err := advance(to); err != nil || s.store.reboot == nil {
		return err
	}
	if err := b.admit(); err != nil {
		return err
	}
	return h.does("reboot "+string(name), func() error {
		if b.proc != nil {
			s.t.Fatalf("%s is rebooted, and its member runs", name)
		}
		b.boots++
		return nil
	})
}

// rebootDone mirrors their Done.
func (s *sim) rebootDone(step Step) (bool, error) {
	if step.Kind != RebootMachine {
		return false, nil
	}
	ns := s.facts(s.hosts[step.Nodes[0]])
	if !ns.Reachable() {
		return false, errAway
	}
	return ns.Boot != step.Reboot.Boot, nil
}
