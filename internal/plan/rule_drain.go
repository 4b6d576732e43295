package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

// comesBackPatience is how long everything else waits for a member that was
// drained to serve again.
const comesBackPatience = time.Minute

// ruleDrain leads clients and leadership away from the members of nodes that are
// drained, stops them, and keeps an eye on them until they are back in sync. That
// none of them is started is for ruleStart.
func ruleDrain(in input) verdict {
	var v verdict
	drains := slices.Clone(in.st.Drains)
	slices.SortFunc(drains, func(a, b cluster.Drain) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Node, b.Node)) })
	for _, d := range drains {
		n := in.nodeNamed(d.Node)
		m, member := in.st.Etcd.MemberAt(n)
		switch {
		case n.Hostname == "":
			v = v.and(finishDrain(d, m, "its node is in the spec no more"))
		case d.Over():
			v = v.and(in.undrain(d, m, member))
		case in.st.Etcd.Quorum && !member:
			v.reasons = append(v.reasons, isDrained(d, "no member is on it, and it gets none"))
		default:
			v = v.and(in.drain(d, n, m))
		}
	}
	return v
}

// drained: the node is under maintenance.
func (in input) drained(n cluster.NodeName) bool {
	return slices.ContainsFunc(in.st.Drains, func(d cluster.Drain) bool { return d.Node == n && !d.Over() })
}

// drainedVoter is a node under maintenance whose member votes.
func (in input) drainedVoter() (cluster.Drain, bool) {
	for _, d := range in.st.Drains {
		if m, ok := in.st.Etcd.MemberAt(in.nodeNamed(d.Node)); ok && !m.Learner && !d.Over() {
			return d, true
		}
	}
	return cluster.Drain{}, false
}

func isDrained(d cluster.Drain, what string) Reason {
	text := "drained by " + orElse(d.By, "somebody")
	if d.Why != "" {
		text += " (" + cluster.InLine(d.Why) + ")"
	}
	return Reason{
		Level: Note, Rule: "nodeIsDrained", Node: d.Node, Text: text + ": " + what, Hint: howToUndrain(d),
	}
}

// howToUndrain: what is drained for a reboot is that reboot's to end.
func howToUndrain(d cluster.Drain) string {
	if d.Reboot {
		return "ckecli node reboot --cancel"
	}
	return "ckecli node undrain " + string(d.Node)
}

// drain takes one member out of service.
func (in input) drain(d cluster.Drain, n cluster.Node, m cluster.Member) verdict {
	var v verdict
	e, ns := in.st.Etcd, in.node(n.Hostname)
	say := func(l Level, rule, text, hint string) verdict {
		v.reasons = append(v.reasons, Reason{Level: l, Rule: rule, Node: d.Node, Text: text, Hint: hint})
		return v
	}
	stopped := usable(ns) && (ns.Unit == nil || !ns.Unit.Running)
	switch {
	case !e.Quorum && !d.Interrupt:
		return say(Blocked, "drainedMemberIsNeeded", "the cluster has no quorum, and the node's member is not to run: it is drained", howToUndrain(d))
	case stopped:
		v.reasons = append(v.reasons, isDrained(d, "its member is stopped"))
		return v
	case !usable(ns) && !m.Healthy:
		v.reasons = append(v.reasons, isDrained(d, "its host does not answer, nor does its member"))
		return v
	case in.cameBack(d):
		return v // ruleReboot ends it
	case !usable(ns), !e.Quorum:
		return say(Waiting, "drainMustWait", "the node is to be drained, once its host answers and the cluster has a quorum", "")
	case m.Learner:
		return say(Waiting, "drainMustWait", fmt.Sprintf("the node is to be drained, once its learner %s votes", m.ID), "")
	}
	follower := m
	follower.Leader = false // leadership is moved first
	if why := drainUnsafe(e, follower, d.Interrupt); why != "" {
		hint := "bring the other members back first, or " + howToUndrain(d)
		if tooFew(e) {
			hint = howToUndrain(d) + "; if nobody need be served meanwhile, drain it again with --interrupt"
		}
		return say(Blocked, "quorumWouldBeLost", "the node is to be drained, but "+why, hint)
	}
	return in.stop(d, m)
}

// stop leads leadership and clients away from a member, and then stops it.
func (in input) stop(d cluster.Drain, m cluster.Member) verdict {
	e := in.st.Etcd
	v, why, ready := in.takesLeave(parting{
		member: m, why: "the node is drained", does: "goes", stops: true, alone: tooFew(e), heir: func() (cluster.Member, bool) { return successor(in, m) },
	})
	if !ready {
		return v
	}
	t := cluster.Tolerance(len(e.Voters()), len(e.HealthyVoters()))
	tolerance := &Tolerance{Before: t, During: t, After: t}
	if m.Healthy {
		tolerance.During--
		tolerance.After--
	}
	if tolerance.After < 0 {
		why += "; nobody is served until it is undrained"
	}
	v.steps = []Step{{Kind: StopMember, Nodes: []cluster.NodeName{d.Node}, Member: m.ID, Drain: &d, Reason: why, Tolerance: tolerance}}
	return v
}

// drainUnsafe says why this voter must not be stopped, or nothing. Of one or two
// voters none can be spared; a person may accept that.
func drainUnsafe(e cluster.EtcdState, m cluster.Member, interrupt bool) string {
	voters, others := len(e.Voters()), len(e.HealthyVoters())
	if m.Healthy {
		others--
	}
	switch {
	case m.Learner:
		return fmt.Sprintf("member %s is a learner", m.ID)
	case tooFew(e) && interrupt:
		return ""
	case tooFew(e):
		return noneToSpare(e)
	case others < cluster.Quorum(voters):
		return fmt.Sprintf("only %d of the other %d voters serve, and a quorum is %d", others, voters-1, cluster.Quorum(voters))
	case m.Leader:
		return fmt.Sprintf("member %s leads", m.ID)
	}
	return ""
}

func noneToSpare(e cluster.EtcdState) string {
	return fmt.Sprintf("of %d voters none can be spared", len(e.Voters()))
}

// undrain follows a member that is to run again until it is in sync.
func (in input) undrain(d cluster.Drain, m cluster.Member, member bool) verdict {
	e := in.st.Etcd
	switch {
	case e.Quorum && !member:
		return finishDrain(d, m, "it carries no member")
	case e.Quorum && InSync(e, m):
		return finishDrain(d, m, "its member serves and is in sync")
	case e.Quorum && in.dead(m):
		return finishDrain(d, m, fmt.Sprintf("its member has not served for %s", in.spec.Etcd.ReplaceAfter))
	}
	what := "does not serve yet: " + orElse(m.Err, "no leader known")
	if m.Healthy {
		what = "catches up"
	}
	return verdict{
		hold: in.now.Sub(d.Ended) < comesBackPatience,
		reasons: []Reason{{
			Level: Waiting, Rule: "memberComesBack", Node: d.Node,
			Text: "the node is drained no more, and its member " + what,
		}},
	}
}

func finishDrain(d cluster.Drain, m cluster.Member, why string) verdict {
	return verdict{steps: []Step{{Kind: FinishDrain, Nodes: []cluster.NodeName{d.Node}, Member: m.ID, Drain: &d, Reason: why}}}
}

// DrainRefused says why a node must not be drained now, and what to do; nothing
// when it may be.
func DrainRefused(spec cluster.Spec, st cluster.State, d cluster.Drain) (why, hint string) {
	in := newInput(spec, st, st.At)
	m, member := st.Etcd.MemberAt(in.nodeNamed(d.Node))
	e := st.Etcd
	switch {
	case st.Bootstrap.Phase != cluster.PhaseBootstrapped:
		return "the cluster is not founded yet", "ckecli status"
	case !e.Quorum:
		return "the cluster has no quorum", "ckecli status"
	case in.drained(d.Node), !member:
		return "", ""
	case m.Learner:
		return "its member is a learner that is still catching up", "try again once it votes"
	}
	if o, ok := in.drainedVoter(); ok {
		return fmt.Sprintf("%s is drained already, and one member at a time is enough", o.Node), "ckecli node undrain " + string(o.Node)
	}
	if tooFew(e) && !d.Interrupt {
		return noneToSpare(e) + ": nobody would be served until it is undrained", "if that is meant: --interrupt"
	}
	m.Leader = false // leadership is moved first
	if why := drainUnsafe(e, m, d.Interrupt); why != "" {
		return why, "bring the other members back first"
	}
	return "", ""
}
