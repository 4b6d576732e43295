package plan

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

const (
	// rebootAgain is when a machine that was told to reboot and did not is told once
	// more: it takes its time to end what runs on it.
	rebootAgain = 30 * time.Second
	// rebootPatience is how long a machine may be away before a person is told.
	rebootPatience = 10 * time.Minute
)

// ruleReboot goes through the machines that are to be rebooted, one at a time: each
// is drained, told to reboot once its member is stopped, and undrained when it runs
// another boot. What it does next it reads off the records, so that whoever leads
// goes on with it.
func ruleReboot(in input) verdict {
	if d, ok := in.calledOff(); ok {
		return in.endDrain(d, "its reboot was called off")
	}
	if in.st.Reboot == nil {
		return verdict{}
	}
	r := *in.st.Reboot
	name, _ := r.Next()
	n := in.nodeNamed(name)
	d, drain := in.drainOf(name)
	switch {
	case n.Hostname == "":
		return finishReboot(r.Without(name), name, "its node is in the spec no more")
	case !n.Remote():
		return finishReboot(r.Without(name), name, "it has no machine of its own, or shares cke's")
	case drain && d.Over():
		return verdict{} // ruleDrain speaks of it
	case in.own(name) && (r.Boot == "" || !drain && r.Ends(in.node(name).Boot)):
		return ckeRunsThere(name)
	case !drain && usable(in.node(name)) && r.Ends(in.node(name).Boot):
		return in.drainForReboot(r, name) // it did not go, and was needed
	case !drain && r.Boot != "" && !in.rebooted(r, name):
		return rebootWaits(name, "or was by now, which its host tells once it answers")
	case !drain && r.Boot != "":
		return finishReboot(r, name, "it was rebooted and is in service")
	case !drain:
		return in.drainForReboot(r, name)
	case !d.Reboot && r.Boot == "":
		return rebootWaits(name, awaitsOwner(d))
	case !d.Reboot && in.rebooted(r, name):
		return finishReboot(r, name, "it was rebooted, and its node stays drained")
	case r.Boot == "":
		return in.tellToReboot(r, d)
	default:
		return in.followReboot(r, d)
	}
}

// calledOff is a node that was drained for a reboot which is not wanted any more: it
// was cancelled just as the drain was written down.
func (in input) calledOff() (cluster.Drain, bool) {
	for _, d := range in.st.Drains {
		if !d.Reboot || d.Over() {
			continue
		}
		if r := in.st.Reboot; r != nil {
			if next, _ := r.Next(); next == d.Node {
				continue
			}
		}
		return d, true
	}
	return cluster.Drain{}, false
}

func (in input) drainOf(n cluster.NodeName) (cluster.Drain, bool) {
	for _, d := range in.st.Drains {
		if d.Node == n {
			return d, true
		}
	}
	return cluster.Drain{}, false
}

// cameBack: the node was drained for a reboot, and its machine runs another boot.
func (in input) cameBack(d cluster.Drain) bool {
	r := in.st.Reboot
	if r == nil || !d.Reboot {
		return false
	}
	next, _ := r.Next()
	return next == d.Node && in.rebooted(*r, next)
}

// rebooted: the machine whose turn it is was told to end its boot, and runs another.
func (in input) rebooted(r cluster.Reboot, name cluster.NodeName) bool {
	ns := in.node(name)
	return r.Boot != "" && usable(ns) && ns.Boot != "" && !r.Ends(ns.Boot)
}

// toldToReboot: it is the turn of the node's machine, which was told.
func (in input) toldToReboot(name cluster.NodeName) bool {
	r := in.st.Reboot
	if r == nil || r.Boot == "" {
		return false
	}
	next, ok := r.Next()
	return ok && next == name
}

// drainForReboot begins with the next machine, once everything is well.
func (in input) drainForReboot(r cluster.Reboot, name cluster.NodeName) verdict {
	if why := in.notWell(); why != "" {
		return rebootWaits(name, why)
	}
	if in.cannotBeSpared(r, name) {
		return verdict{reasons: []Reason{{
			Level: Blocked, Rule: "quorumWouldBeLost", Node: name,
			Text: "the machine is to be rebooted, but " + noneToSpare(in.st.Etcd),
			Hint: "ckecli node reboot --cancel; if nobody need be served meanwhile, reboot it again with --interrupt",
		}}}
	}
	d := cluster.Drain{Node: name, By: r.By, Why: orElse(r.Why, "reboot"), At: in.now.UTC(), Interrupt: r.Interrupt, Reboot: true}
	return verdict{steps: []Step{{Kind: DrainNode, Nodes: []cluster.NodeName{name}, Drain: &d, Reason: "its machine is to be rebooted"}}}
}

// awaitsOwner: nobody reboots a machine that a person is at work on.
func awaitsOwner(d cluster.Drain) string {
	return fmt.Sprintf("once %s, who drained its node, has put it into service again", orElse(d.By, "somebody"))
}

func rebootWaits(name cluster.NodeName, why string) verdict {
	return verdict{reasons: []Reason{{
		Level: Waiting, Rule: "rebootMustWait", Node: name,
		Text: "the machine is to be rebooted, " + why, Hint: "ckecli node reboot --cancel, if it is not to be",
	}}}
}

// notWell says what is waited for before a machine may go, or nothing.
func (in input) notWell() string {
	e := in.st.Etcd
	for _, m := range e.Voters() {
		if !m.Healthy || !InSync(e, m) {
			return fmt.Sprintf("once every voter serves and is in sync; that on %s does not: %s", in.name(m), whyNotInSync(m))
		}
	}
	switch {
	case !e.Quorum:
		return "once the cluster has a quorum"
	case len(e.Learners()) > 0:
		return fmt.Sprintf("once the learner on %s votes or is out", in.name(e.Learners()[0]))
	case in.st.Restart != nil && in.st.Restart.Failed == "":
		return fmt.Sprintf("once the member on %s is restarted", in.st.Restart.Node)
	case len(in.st.Drains) > 0:
		return fmt.Sprintf("once %s is in service again", in.st.Drains[0].Node)
	}
	return ""
}

// tellToReboot has the machine rebooted once its member is stopped.
func (in input) tellToReboot(r cluster.Reboot, d cluster.Drain) verdict {
	ns := in.node(d.Node)
	switch {
	case in.neededFor(r):
		// Others fell since. Its turn comes again when they are back.
		return in.endDrain(d, "the quorum needs its member; its machine is rebooted later")
	case in.cannotBeSpared(r, d.Node):
		// As long as it counts as drained it would not be started when it ends.
		return in.endDrain(d, noneToSpare(in.st.Etcd)+"; its machine is not rebooted")
	case !usable(ns), ns.Unit != nil && ns.Unit.Running:
		return verdict{reasons: []Reason{{
			Level: Waiting, Rule: "rebootMustWait", Node: d.Node,
			Text: "the machine is rebooted once its host answers and its member is stopped",
		}}}
	case ns.Boot == "":
		return verdict{reasons: []Reason{{
			Level: Blocked, Rule: "bootIsUnknown", Node: d.Node,
			Text: "its host does not tell which boot it runs, so that it could not be known when it is back",
			Hint: "ckecli node reboot --cancel",
		}}}
	}
	r.Boot = ns.Boot
	return rebootStep(in.st, r, d.Node, "its member is stopped")
}

// cannotBeSpared: there were more voters when the reboot was asked for, and nobody has
// accepted that the service is interrupted.
func (in input) cannotBeSpared(r cluster.Reboot, name cluster.NodeName) bool {
	m, member := in.st.Etcd.MemberAt(in.nodeNamed(name))
	return member && !m.Learner && tooFew(in.st.Etcd) && !r.Interrupt
}

// neededFor: the quorum needs each member, also that on the machine whose turn it is.
func (in input) neededFor(r cluster.Reboot) bool { return quorumNeedsAll(in.st.Etcd, r.Interrupt) }

// quorumNeedsAll: there are no more serving voters than it takes, or fewer, unless a
// person has accepted that of so few.
func quorumNeedsAll(e cluster.EtcdState, interrupt bool) bool {
	return (!e.Quorum || len(e.HealthyVoters()) < cluster.Quorum(len(e.Voters()))) && !(interrupt && tooFew(e))
}

// followReboot waits for another boot of a machine that was told.
func (in input) followReboot(r cluster.Reboot, d cluster.Drain) verdict {
	ns := in.node(d.Node)
	since, reason := in.now.Sub(r.Told), in.awaitsReboot(r, d)
	switch {
	case in.cameBack(d):
		return in.endDrain(d, "its machine is back, with another boot")
	case usable(ns) && since >= rebootAgain && !d.Reboot:
		// It did not go, and a person has drained its node since.
		return rebootWaits(d.Node, awaitsOwner(d))
	case usable(ns) && since >= rebootAgain && in.neededFor(r):
		// It did not go, and others fell since.
		return in.endDrain(d, "it was told to reboot and did not, and the quorum needs its member; it is told again later")
	case usable(ns) && since >= rebootAgain && in.own(d.Node):
		return ckeRunsThere(d.Node) // nobody tells it again from there
	case in.perhapsNotTold(r, d) && !in.own(d.Node):
		v := rebootStep(in.st, r, d.Node, "whether it was told is not known: the cke that was about to leads no more")
		v.reasons = []Reason{reason}
		return v
	case usable(ns) && since >= rebootAgain && (ns.Unit == nil || !ns.Unit.Running):
		v := rebootStep(in.st, r, d.Node, "it was told to reboot, and did not")
		v.reasons = []Reason{reason}
		return v
	}
	return verdict{reasons: []Reason{reason}}
}

// awaitsReboot is what is waited for, and for how long in this turn of the machine's.
func (in input) awaitsReboot(r cluster.Reboot, d cluster.Drain) Reason {
	first := later(r.ToldFirst(), d.At)
	reason := Reason{
		Level: Waiting, Rule: "machineIsRebooting", Node: d.Node,
		Text: fmt.Sprintf("the machine was told to reboot at %s", r.Told.UTC().Format(time.TimeOnly)),
	}
	if first.Before(r.Told) {
		reason.Text += fmt.Sprintf(" (the first time at %s)", first.UTC().Format(time.TimeOnly))
	}
	if in.now.Sub(first) < rebootPatience {
		return reason
	}
	reason.Level, reason.Rule = Blocked, "machineDidNotComeBack"
	reason.Hint = "look at its console; cke goes on when it is back. ckecli node reboot --cancel gives the others up"
	if reason.Text += fmt.Sprintf(" and is not back after %s", rebootPatience); usable(in.node(d.Node)) {
		reason.Text += ": it answers, and runs the boot that was to end"
	}
	return reason
}

// perhapsNotTold: another cke wrote down that the machine is told, and leads no more.
// Whether it came to telling it nobody knows; told twice a machine reboots once, for
// each time that boot is named which is to end.
func (in input) perhapsNotTold(r cluster.Reboot, d cluster.Drain) bool {
	ns := in.node(d.Node)
	return r.Epoch != in.st.Epoch && r.Ends(ns.Boot) && d.Reboot && usable(ns) && (ns.Unit == nil || !ns.Unit.Running) && !in.neededFor(r)
}

func (in input) endDrain(d cluster.Drain, why string) verdict {
	d.Ended = in.now.UTC()
	return verdict{steps: []Step{{Kind: UndrainNode, Nodes: []cluster.NodeName{d.Node}, Drain: &d, Reason: why}}}
}

func rebootStep(st cluster.State, r cluster.Reboot, n cluster.NodeName, why string) verdict {
	r.Epoch = st.Epoch
	if !r.Told.IsZero() {
		r.First = r.ToldFirst()
	}
	return verdict{steps: []Step{{Kind: RebootMachine, Nodes: []cluster.NodeName{n}, Reboot: &r, Reason: why}}}
}

func finishReboot(r cluster.Reboot, n cluster.NodeName, why string) verdict {
	return verdict{steps: []Step{{Kind: FinishReboot, Nodes: []cluster.NodeName{n}, Reboot: &r, Reason: why}}}
}

func ckeRunsThere(name cluster.NodeName) verdict {
	return verdict{reasons: []Reason{{
		Level: Blocked, Rule: "ckeRunsThere", Node: name,
		Text: "the machine is to be rebooted, and the cke that leads by now runs on it",
		Hint: "stop that cke until another one leads, or ckecli node reboot --cancel",
	}}}
}

// own: cke itself runs on the machine, so that nobody would follow its reboot. It may
// lead from there only since the reboot was asked for.
func (in input) own(name cluster.NodeName) bool {
	boot := in.node(name).Boot
	return boot != "" && boot == in.st.OwnBoot
}

// RebootRefused says why machines must not be rebooted now, and what to do; nothing
// when they may be.
func RebootRefused(spec cluster.Spec, st cluster.State, r cluster.Reboot) (why, hint string) {
	if st.Reboot != nil {
		return "machines are being rebooted already", "ckecli status; ckecli node reboot --cancel"
	}
	in := newInput(spec, st, st.At)
	for _, name := range r.Nodes {
		n, ns := in.nodeNamed(name), in.node(name)
		switch {
		case !n.Remote(), in.own(name):
			return fmt.Sprintf("cke itself runs on the machine of %s", name), "drain the node, reboot the machine by hand, and undrain it"
		case !usable(ns):
			return fmt.Sprintf("the host of %s does not answer", name), "ckecli status"
		case !ns.CanReboot:
			return fmt.Sprintf("the members of %s are not run by systemd", name), "drain the node, reboot the machine by hand, and undrain it"
		}
		if why, hint := DrainRefused(spec, st, cluster.Drain{Node: name, Interrupt: r.Interrupt}); why != "" {
			return fmt.Sprintf("node %s cannot be drained: %s", name, why), hint
		}
	}
	if i := slices.IndexFunc(st.Drains, func(d cluster.Drain) bool { return !d.Over() }); i >= 0 {
		return fmt.Sprintf("node %s is drained", st.Drains[i].Node), "ckecli node undrain " + string(st.Drains[i].Node)
	}
	return "", ""
}

// UndrainRefused says why a drain is not a person's to end now, and what to do; nothing
// when it may be ended.
func UndrainRefused(r *cluster.Reboot, d cluster.Drain, now time.Time) (why, hint string) {
	if r == nil || slices.Contains(r.Done, d.Node) || !slices.Contains(r.Nodes, d.Node) {
		return "", ""
	}
	next, _ := r.Next()
	switch {
	case d.Reboot:
		return "it is being rebooted, and put into service again by that", "ckecli node reboot --cancel"
	case next == d.Node && r.Boot != "" && now.Sub(r.Told).Abs() < rebootAgain: // by whoever's clock
		// Its member would be started on a machine that may go at any moment.
		return fmt.Sprintf("its machine was told to reboot at %s, and is not known to be back", r.Told.UTC().Format(time.TimeOnly)),
			fmt.Sprintf("undrain it when it is back, or %s after it was told", rebootAgain)
	}
	return "", ""
}
