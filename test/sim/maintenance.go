package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

// Maintenance: what a person asks for, and is refused as the API refuses it, by what
// the daemon that leads has seen last.

// seenByLeader is that, with what the store says now; false: nobody leads who has
// looked yet.
func (w *World) seenByLeader() (cluster.Spec, cluster.State, bool) {
	c := w.newest()
	v, _ := c.loop.View()
	v.State.Drains, v.State.Reboot = w.shelf.drains, w.shelf.reboot
	return v.Wanted.Spec, v.State, v.Seq > 0 && !c.dead && c.frozen == nil
}

// cared: the node is in the spec, or leaving.
func (w *World) cared(n cluster.NodeName) bool {
	return slices.ContainsFunc(slices.Concat(w.shelf.spec.Nodes, w.shelf.leaving), func(o cluster.Node) bool { return o.Hostname == n })
}

// askDrain takes a node out of service.
func (m *machine) askDrain(interrupt bool) {
	w := m.w
	spec, st, ok := w.seenByLeader()
	if !ok || !w.cared(m.name()) {
		return
	}
	d := cluster.Drain{Node: m.name(), By: "ada", Why: "an event", At: w.clock(), Interrupt: interrupt}
	if why, _ := plan.DrainRefused(spec, st, d); why != "" {
		w.logf("    refused: %s", why)
		return
	}
	w.shelf.drains = append(without(w.shelf.drains, d.Node), d)
	w.drainedAt[d.Node] = w.raft.at
	w.wake()
}

// clock is what the newest daemon's says.
func (w *World) clock() time.Time { return time.Now().Add(w.newest().skew).UTC() }

// askUndrain puts it into service again.
func (m *machine) askUndrain() {
	for _, d := range m.w.shelf.drains {
		if why, _ := plan.UndrainRefused(m.w.shelf.reboot, d, m.w.clock()); d.Node == m.name() && !d.Over() && why == "" {
			m.w.endDrain(d)
		}
	}
}

// undrainAll is a person who puts into service whatever may be, and tries again later
// what may not yet.
func (w *World) undrainAll() {
	for _, m := range w.all() {
		m.askUndrain()
	}
}

func (w *World) endDrain(d cluster.Drain) {
	d.Ended = w.clock()
	w.shelf.drains = append(without(w.shelf.drains, d.Node), d)
	w.wake()
}

// askReboot has these machines rebooted, one after another.
func (w *World) askReboot(names []cluster.NodeName, interrupt bool) {
	spec, st, ok := w.seenByLeader()
	names = slices.DeleteFunc(names, func(n cluster.NodeName) bool { return !w.cared(n) || !w.machines[n].node.Remote() })
	if !ok || len(names) == 0 {
		return
	}
	r := cluster.Reboot{Nodes: names, By: "ada", At: w.clock(), Interrupt: interrupt}
	if why, _ := plan.RebootRefused(spec, st, r); why != "" {
		w.logf("    refused: %s", why)
		return
	}
	w.shelf.reboot = &r
	w.wake()
}

// cancelReboot is what the API does when a person calls the reboots off.
func (w *World) cancelReboot() {
	if w.shelf.reboot == nil {
		return
	}
	w.shelf.reboot = nil
	for _, d := range w.shelf.drains {
		if d.Reboot && !d.Over() {
			w.endDrain(d)
		}
	}
	w.wake()
}

// giveUpReboot is what a person does who reads that the quorum would be lost: with more
// voters, as there were when the reboots were asked for, it would not be. Of two none can
// be spared unless he accepts that, which is his to say and nobody else's.
func (w *World) giveUpReboot() {
	if r := w.shelf.reboot; r != nil && !r.Interrupt && len(w.raft.agreed.voters()) <= 2 {
		w.logf("--- reboot-none")
		w.cancelReboot()
	}
}

// drained is since when a node is under maintenance, as long as it is.
func (w *World) drained(n cluster.NodeName) (time.Time, bool) {
	for _, d := range w.shelf.drains {
		if d.Node == n && !d.Over() {
			return w.drainedAt[n], true
		}
	}
	return time.Time{}, false
}

// boot names the machine's present boot.
func (m *machine) bootName() string { return fmt.Sprintf("%s-boot-%d", m.name(), m.boots) }

func (m *machine) runtime() cluster.Runtime {
	if m.w.o.Systemd {
		return cluster.RuntimeSystemd
	}
	return cluster.RuntimeProcess
}

// Reboot implements host.Host.
func (h channel) Reboot(ctx context.Context, req host.Reboot) error {
	m := h.m
	return h.mutate(ctx, "reboot", func() error {
		switch {
		case m.runtime() != cluster.RuntimeSystemd:
			return refuse(host.NoReboot, "its members are processes")
		case m.bootName() != req.Boot:
			return refuse(host.NoReboot, "the machine runs boot "+m.bootName()+", not "+req.Boot)
		case m.proc != nil:
			return refuse(host.StillRunning, "member "+m.proc.unit.Member.String()+" runs")
		}
		m.w.judgeReboot(m)
		m.reboots()
		return nil
	})
}

// How long a reboot takes to begin, and the machine to be back.
const (
	goesLeast = 100 * time.Millisecond
	goesMost  = 2 * time.Second
	backLeast = 3 * time.Second
	backMost  = 40 * time.Second
	// backByHand is when somebody has looked at the console.
	backByHand = 3 * time.Minute
)

// reboots: one in eight does not come about, one in eight needs somebody at the
// console before the machine is back.
func (m *machine) reboots() {
	w, boots, luck := m.w, m.boots, m.w.chance("reboot of "+string(m.name())).IntN(8)
	if luck == 0 {
		return
	}
	m.rebooting = true
	w.after(w.between("goes "+string(m.name()), goesLeast, goesMost), "goes "+string(m.name()), func() {
		if m.boots != boots {
			return
		}
		m.crash()
		back := w.between("back "+string(m.name()), backLeast, backMost)
		if luck == 1 {
			back += backByHand
		}
		w.after(back, "back "+string(m.name()), func() {
			if m.boots == boots {
				m.boot()
			}
		})
	})
}
