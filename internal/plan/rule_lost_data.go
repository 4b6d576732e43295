package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// peersNotice is how long a silent host must have been silent before its member
// is removed: etcd's peers hold on to it that long, and a removal meanwhile
// stalls the whole cluster (measured under load: 2.3 to 7.4 s of stall at once, none
// after 12 s). Without load they may be stuck with it later: the step itself asks that.
const peersNotice = 12 * time.Second

// ruleLostData takes out a voter whose host proves its data gone. It can never
// come back as what it was, so there is nothing to wait for; ruleMembership then
// rebuilds it as a learner.
func ruleLostData(in input) verdict {
	var v verdict
	if len(in.st.Etcd.Learners()) > 0 {
		return v
	}
	var lost []cluster.Member
	for _, m := range in.st.Etcd.Voters() {
		if in.dataLost(m) && !in.drained(in.name(m)) {
			lost = append(lost, m)
		}
	}
	if len(lost) == 0 {
		return v
	}
	m := deadFirst(lost)
	v = takeOut(in, m, fmt.Sprintf("member on %s has lost its data; it is rebuilt from the others", in.name(m)))
	provenByHost(v.steps)
	if m.Healthy && v.outgoing == 0 && len(v.reasons) > 0 {
		v.reasons[0].Hint = "its process still serves from deleted files: take a backup now, with ckecli etcd local-backup, before it ends"
	}
	return v
}

// provenByHost has the host asked again before a member is removed on its word.
func provenByHost(steps []Step) {
	for i := range steps {
		if steps[i].Kind == RemoveMember {
			steps[i].DataLost, steps[i].NotServing = true, false
		}
	}
}

// deadFirst: a process goes on serving without its files until it ends, and
// until then helps to agree on the removal of one that has ended.
func deadFirst(ms []cluster.Member) cluster.Member {
	for _, m := range ms {
		if !m.Healthy {
			return m
		}
	}
	return leaderLast(ms)
}

// takeOut removes a voter if a quorum of the remaining ones is healthy, moving
// leadership off it first.
func takeOut(in input, m cluster.Member, why string) verdict {
	return in.depart(parting{member: m, why: why, does: "goes"})
}

// depart is takeOut in the way that p says.
func (in input) depart(p parting) verdict {
	m, why := p.member, p.why
	if reason := removalUnsafe(in.st.Etcd, m); reason != "" {
		return verdict{reasons: []Reason{{
			Level: Blocked, Rule: "quorumWouldBeLost", Node: in.name(m),
			Text: fmt.Sprintf("%s, but %s", why, reason),
			Hint: "bring the other members back first",
		}}}
	}
	if r, needed := in.neededBesideLost(m, why); needed {
		return verdict{reasons: []Reason{r}}
	}
	if since, silent := in.silentSince(m); silent && in.now.Sub(since) < peersNotice {
		return verdict{reasons: []Reason{{
			Level: Waiting, Rule: "peersMustNotice", Node: in.name(m),
			Text: fmt.Sprintf("%s; its host went silent at %s, and its peers need %s to notice", why, since.UTC().Format(time.TimeOnly), peersNotice),
		}}}
	}
	p.heir = func() (cluster.Member, bool) { return successor(in, m) }
	v, why, ready := in.takesLeave(p)
	if ready {
		v.steps = []Step{removeStep(in, m, why)}
		if p.stops {
			v.steps[0].StopFirst = true
			v.steps[0].Tolerance.During = v.steps[0].Tolerance.Before - 1
		}
	}
	return v
}

// neededBesideLost: a voter whose data is gone serves from its memory, and counts for
// nothing once it ends. While without it the others would be no quorum, who has its data
// and does not serve just now is what the cluster comes back with, wanted or not. Who has
// been dead for long does not come back.
func (in input) neededBesideLost(m cluster.Member, why string) (Reason, bool) {
	if in.dataLost(m) || in.dead(m) {
		return Reason{}, false
	}
	lost, left, voters := 0, 0, len(in.st.Etcd.Voters())
	for _, o := range in.st.Etcd.HealthyVoters() {
		switch {
		case o.ID == m.ID:
		case in.saidGone(o): // on a host of another store, too, or one that is silent since
			lost++
		default:
			left++
		}
	}
	if lost == 0 || left >= cluster.Quorum(voters-1) {
		return Reason{}, false
	}
	return Reason{
		Level: Waiting, Rule: "everyOtherVoterNeedsItsData", Node: in.name(m),
		Text: fmt.Sprintf("%s, and stays until enough of the others have their data, or it has not served for %s: %d of the other %d voters serve with theirs", why, in.spec.Etcd.ReplaceAfter, left, voters-1),
	}, true
}

// silentSince is since when, at the latest, a member's peers have heard nothing of
// it, if its host may have been away by then. A host that answered after the
// member had ceased to serve was there to tell the peers, whatever became of it
// since; and one that went away before has been silent from when its member was.
func (in input) silentSince(m cluster.Member) (time.Time, bool) {
	n, known := in.nodeOf(m)
	if !known || m.Healthy {
		return time.Time{}, false
	}
	ns := in.node(n.Hostname)
	switch {
	case ns.Reachable() && ns.AnsweredAt.IsZero(): // in this look, maybe before the member fell silent in it
		return m.UnhealthySince, !m.UnhealthySince.IsZero() && !m.UnhealthySince.Before(in.st.At)
	case ns.Reachable():
		return later(ns.AnsweredAt, m.UnhealthySince), !m.UnhealthySince.Before(ns.AnsweredAt)
	case ns.AnsweredAt.IsZero(): // nobody knows when it did
		return later(ns.UnreachableSince, m.UnhealthySince), true
	default:
		return later(ns.AnsweredAt, m.UnhealthySince), true
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// removalUnsafe says why removing this voter would leave fewer healthy voters
// than a quorum, or cannot be agreed on at all.
func removalUnsafe(e cluster.EtcdState, m cluster.Member) string {
	voters, healthy := len(e.Voters()), len(e.HealthyVoters())
	others := healthy
	if m.Healthy {
		others--
	}
	if others < cluster.Quorum(voters-1) || voters == 1 {
		return fmt.Sprintf("only %d of the other %d voters are healthy", others, voters-1)
	}
	return ""
}

func moveStep(in input, from, to cluster.Member, why string) Step {
	t := cluster.Tolerance(len(in.st.Etcd.Voters()), len(in.st.Etcd.HealthyVoters()))
	return Step{
		Kind: MoveLeader, Nodes: []cluster.NodeName{in.name(from), in.name(to)}, Member: from.ID, To: to.ID,
		Reason: why + "; leadership moves off it first", Tolerance: &Tolerance{Before: t, During: t, After: t},
	}
}

// removeStep removes a member; a learner's removal costs no tolerance.
func removeStep(in input, m cluster.Member, why string) Step {
	voters, healthy := len(in.st.Etcd.Voters()), len(in.st.Etcd.HealthyVoters())
	before := cluster.Tolerance(voters, healthy)
	after := before
	if !m.Learner {
		others := healthy
		if m.Healthy {
			others--
		}
		after = cluster.Tolerance(voters-1, others)
	}
	return Step{
		Kind: RemoveMember, Nodes: []cluster.NodeName{in.name(m)}, Member: m.ID, Serving: m.Healthy && !m.Learner, NotServing: !m.Learner && !m.Healthy, Reason: why,
		Tolerance: &Tolerance{Before: before, During: min(before, after), After: after},
	}
}
