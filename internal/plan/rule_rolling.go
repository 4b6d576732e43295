package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// downAlready is how long a member must not have served to be restarted first, as
// one that has nothing to lose.
const downAlready = 10 * time.Second

// outdated is a voter that runs with other settings than wanted.
type outdated struct {
	member   cluster.Member
	node     cluster.Node
	from, to cluster.Unit
}

// what changes for a member that is restarted.
func whatChanges(from, to cluster.Unit) string {
	return orElse(from.Changes(to), "the certificate authorities, which etcd reads at its start")
}

// ruleRolling brings other settings to running members, one at a time: each is
// restarted only while every voter serves and is in sync, the followers first, and
// the leader last, after leadership has moved to a member that is done.
func ruleRolling(in input) verdict {
	var v verdict
	todo := in.outdatedVoters()
	r := in.st.Restart
	if r != nil && !in.restartIsDue(*r) {
		return in.nextWithdrawn(*r) // ruleRestarted speaks of it
	}
	// Of all of them, though only one may be due: ruleVersion waits here for the last.
	for _, o := range todo {
		if !hasVersion(in.node(o.node.Hostname), o.to.Version) {
			in.needVersion(&v, o.node, o.to.Version)
		}
	}
	if len(v.steps) > 0 || len(v.reasons) > 0 {
		return v
	}
	if r != nil {
		todo = only(todo, r.Node)
	}
	if len(todo) == 0 {
		return v
	}
	if ruleVersion(in).hold {
		v.reasons = pending(todo)
		return v
	}
	o, wait := in.nextToRestart(todo)
	if wait.Rule != "" {
		v.reasons = append(v.reasons, wait)
		v.outgoing = in.stillGoing(todo)
		v.stops = v.outgoing != 0
		return v
	}
	next := in.restart(o, todo)
	next.reasons = append(next.reasons, pending(slices.DeleteFunc(slices.Clone(todo), func(other outdated) bool {
		return other.node.Hostname == o.node.Hostname
	}))...)
	return next
}

// nextWithdrawn: once a restarted member serves and is in sync, clients are told of
// the next one to go while the record of the last is dropped.
func (in input) nextWithdrawn(r cluster.Restart) verdict {
	if r.Failed != "" || in.restartIsOver(r) == "" {
		return verdict{}
	}
	in.st.Restart = nil
	next := ruleRolling(in)
	return verdict{outgoing: next.outgoing, stops: next.stops}
}

// stillGoing is the member whose endpoint was withdrawn for its restart: while the
// others follow a new leader, nobody is sent back to it for a moment.
func (in input) stillGoing(todo []outdated) cluster.MemberID {
	if e := in.st.Etcd; tooFew(e) || len(e.Learners()) > 0 || len(e.HealthyVoters()) < len(e.Voters()) {
		return 0
	}
	for _, o := range todo {
		since, begun := in.st.WithdrawnSince[o.member.ID]
		if begun && o.member.Healthy && in.now.Sub(since) < withdrawalPatience {
			return o.member.ID
		}
	}
	return 0
}

func pending(todo []outdated) (reasons []Reason) {
	for _, o := range todo {
		reasons = append(reasons, Reason{
			Level: Waiting, Rule: "restartIsPending", Node: o.node.Hostname,
			Text: fmt.Sprintf("the member is restarted in its turn: %s", whatChanges(o.from, o.to)),
		})
	}
	return reasons
}

func only(todo []outdated, n cluster.NodeName) []outdated {
	for _, o := range todo {
		if o.node.Hostname == n {
			return []outdated{o}
		}
	}
	return nil
}

// outdatedVoters are in the order of the membership, the leader last.
func (in input) outdatedVoters() []outdated {
	var todo []outdated
	leads := -1
	for _, m := range in.st.Etcd.Voters() {
		n, known := in.nodeOf(m)
		ns := in.node(n.Hostname)
		u := ns.Unit
		if !known || !in.isWanted(n) || !usable(ns) || u == nil || u.Unit.Member != m.ID || !u.Sealed || !u.Running || in.dataLost(m) || u.NotMounted != "" {
			continue
		}
		runs := u.Unit
		if u.Started != nil {
			runs = *u.Started
		}
		want := wantedUnit(in.spec, n, m.ID)
		if runs.SameSettings(want) && !u.StaleCA {
			continue
		}
		if m.Leader {
			leads = len(todo)
		}
		runs.Founding = nil
		todo = append(todo, outdated{m, n, runs, want})
	}
	if leads >= 0 {
		o := todo[leads]
		todo = append(append(todo[:leads:leads], todo[leads+1:]...), o)
	}
	return todo
}

// nextToRestart picks a member, or says what is waited for.
func (in input) nextToRestart(todo []outdated) (outdated, Reason) {
	e := in.st.Etcd
	wait := Reason{Level: Waiting, Rule: "restartMustWait", Node: todo[0].node.Hostname}
	what := "the member is to be restarted (" + whatChanges(todo[0].from, todo[0].to) + "), "
	if ls := e.Learners(); len(ls) > 0 {
		wait.Text = fmt.Sprintf("%sonce the learner on %s votes or is out", what, in.name(ls[0]))
		return outdated{}, wait
	}
	for _, o := range todo {
		if in.nothingToLose(o) {
			return o, Reason{}
		}
	}
	// Whoever ended cke between the stop and the start would leave one stopped that nobody
	// starts, for its node is drained.
	if d, drained := in.drainedVoter(); drained {
		wait.Text = fmt.Sprintf("%sonce the member on %s is in service again, which is drained", what, d.Node)
		if !d.Reboot { // that ends by itself
			wait.Hint = howToUndrain(d)
		}
		return outdated{}, wait
	}
	for _, m := range e.Voters() {
		if !m.Healthy || !InSync(e, m) {
			wait.Text = fmt.Sprintf("%sonce every voter serves and is in sync; that on %s does not: %s", what, in.name(m), whyNotInSync(m))
			return outdated{}, wait
		}
	}
	ns := in.node(todo[0].node.Hostname)
	if ns.CertificatesBar {
		wait.Text = fmt.Sprintf("%sand would not start again before its files are installed: %s", what, strings.Join(ns.Certificates, ", "))
		return outdated{}, wait
	}
	if ns.LacksRoom() {
		wait.Level = Blocked
		wait.Text = fmt.Sprintf("%sand might not start again: of %s on %s only %s are free", what, roundSize(ns.Disk.Size), ns.Disk.Mount, roundSize(ns.Disk.Free))
		wait.Hint = "make room on " + ns.Disk.Mount + ", or make it larger"
		return outdated{}, wait
	}
	return todo[0], Reason{}
}

// nothingToLose: the member has not served for a while, nor its peers as far as its host
// knows. One that only cke does not reach may even lead, and does not go before the others,
// unless it is the restart that mends it: it takes no certificate of today's clients.
func (in input) nothingToLose(o outdated) bool {
	m := o.member
	ns := in.node(o.node.Hostname)
	serves := in.takesPart(m) || ns.PartUnknown
	return o.from.Version == o.to.Version && !m.Healthy && !m.UnhealthySince.IsZero() && in.now.Sub(m.UnhealthySince) >= downAlready &&
		!in.drained(o.node.Hostname) && (!serves || ns.Unit != nil && ns.Unit.StaleCA) && restartUnsafe(in.st.Etcd, m, true) == ""
}

// restart takes one member's endpoint and leadership away, and then restarts it.
func (in input) restart(o outdated, todo []outdated) verdict {
	e, m := in.st.Etcd, o.member
	v, why, ready := in.takesLeave(parting{
		member: m, why: "changed: " + whatChanges(o.from, o.to), does: "goes", stops: true, alone: tooFew(e),
		heir: func() (cluster.Member, bool) { return in.alreadyDone(m, todo) }, nobody: "no other member that can lead has them yet",
	})
	if !ready {
		return v
	}
	t := cluster.Tolerance(len(e.Voters()), len(e.HealthyVoters()))
	tolerance := &Tolerance{Before: t, During: t, After: t}
	if m.Healthy {
		tolerance.During--
	} else {
		tolerance.After++
	}
	if tooFew(e) {
		why += fmt.Sprintf("; of %d voters none can be spared: nothing is served while it restarts, for about 3s", len(e.Voters()))
	}
	v.steps = []Step{{
		Kind: RestartMember, Nodes: []cluster.NodeName{o.node.Hostname}, Member: m.ID, Reason: why, Tolerance: tolerance,
		Restart: &cluster.Restart{Node: o.node.Hostname, Member: m.ID, From: o.from, To: o.to, Down: !m.Healthy},
	}}
	return v
}

// alreadyDone is the voter that leadership goes to from a member: one whose turn is
// over, so that it moves only once.
func (in input) alreadyDone(from cluster.Member, todo []outdated) (cluster.Member, bool) {
	return in.fittest(from, nil, func(m cluster.Member) bool {
		n, known := in.nodeOf(m)
		return known && in.isWanted(n) && usable(in.node(n.Hostname)) && !in.drained(n.Hostname) && !in.isCorrupt(m.ID) &&
			InSync(in.st.Etcd, m) && len(only(todo, n.Hostname)) == 0
	})
}

// tooFew voters cannot spare one. Their service is interrupted, as whoever
// changed the settings was told.
func tooFew(e cluster.EtcdState) bool { return len(e.Voters()) <= 2 }

// restartUnsafe says why this voter must not be restarted now, or nothing.
func restartUnsafe(e cluster.EtcdState, m cluster.Member, down bool) string {
	voters, healthy := len(e.Voters()), len(e.HealthyVoters())
	others := healthy
	if m.Healthy {
		others--
	}
	switch {
	case m.Learner:
		return fmt.Sprintf("member %s is a learner", m.ID)
	case down && m.Healthy || !down && !m.Healthy:
		return fmt.Sprintf("whether member %s serves has changed", m.ID)
	case down && others < cluster.Quorum(voters):
		return fmt.Sprintf("only %d of %d voters serve", others, voters)
	case !down && others < voters-1:
		return fmt.Sprintf("only %d of the other %d voters serve", others, voters-1)
	case m.Leader && !tooFew(e):
		return fmt.Sprintf("member %s leads", m.ID)
	}
	return ""
}

func whyNotInSync(m cluster.Member) string {
	if m.Healthy {
		return "it is behind"
	}
	return orElse(m.Err, "no leader known")
}
