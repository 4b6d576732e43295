package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// ruleReplace gives the seat of a voter that has not served for replace_after to a
// spare. It is removed first: etcd adds nobody while a voter is ill. So it goes
// only when a spare is known to be fit, and while the others are a quorum without
// it; one after another, the next once the spare votes. Without a fit spare it
// keeps its seat, and rejoins when its machine is back.
func ruleReplace(in input) verdict {
	if len(in.st.Etcd.Learners()) > 0 {
		return verdict{}
	}
	m, ok := in.longestDead()
	if !ok {
		return verdict{}
	}
	name := in.name(m)
	spares := in.spares()
	fit, v := in.ready(slices.DeleteFunc(in.spares(), func(n cluster.Node) bool { return in.drained(n.Hostname) }))
	if !in.dead(m) {
		// Who may be needed soon is known to be fit when it is.
		if in.silence(m) < in.spec.Etcd.ReplaceAfter.Std()/2 {
			return verdict{}
		}
		return verdict{steps: v.steps}
	}
	switch d, drained := in.drainedVoter(); {
	case drained:
		return verdict{reasons: []Reason{{
			Level: Waiting, Rule: "replacementMustWait", Node: name,
			Text: fmt.Sprintf("member %s has not served since %s; etcd adds nobody in its place before the member on %s runs again, which is drained", m.ID, in.clock(m.UnhealthySince), d.Node),
			Hint: "ckecli node undrain " + string(d.Node),
		}}}
	case len(fit) > 0:
		why := fmt.Sprintf("member on %s has not served for %s; %s takes its place", name, in.spec.Etcd.ReplaceAfter, in.best(fit).Hostname)
		out := takeOut(in, m, why)
		out.steps = append(v.steps, out.steps...)
		return out
	case len(v.steps) > 0:
		return v // one may be fit in a moment
	default:
		return verdict{reasons: []Reason{in.noSpare(m, spares)}}
	}
}

// longestDead is the voter on a wanted node that has not served for the longest
// time, and has its data as far as is known.
func (in input) longestDead() (cluster.Member, bool) {
	var worst cluster.Member
	for _, m := range in.st.Etcd.Voters() {
		n, known := in.nodeOf(m)
		if !known || !in.isWanted(n) || m.Healthy || in.silence(m) == 0 || in.dataLost(m) {
			continue
		}
		if worst.ID == 0 || in.silence(m) > in.silence(worst) {
			worst = m
		}
	}
	return worst, worst.ID != 0
}

// partHolds is how long what a host said of its member's part in the quorum holds.
const partHolds = 30 * time.Second

// takesPart: only cke does not reach the member. It serves its peers, and clients as
// far as anybody knows: to take it out would cost the others a voter they have. That
// its silence begins only when it ceases to take part is for silence.
func (in input) takesPart(m cluster.Member) bool {
	ns := in.node(in.name(m))
	return !m.Healthy && usable(ns) && in.now.Sub(ns.TookPart) < partHolds
}

func (in input) doesNotAnswer(m cluster.Member) Reason {
	name := in.name(m)
	return Reason{
		Level: Blocked, Rule: "memberDoesNotAnswer", Node: name,
		Text: fmt.Sprintf("member %s takes part in the quorum, as its host says, and does not answer cke since %s (%s); it is not replaced", m.ID, in.clock(m.UnhealthySince), orElse(m.Err, "no leader known")),
		Hint: fmt.Sprintf("a firewall? open port %d of %s to cke and to clients; ckecli node logs %s has what the member says", cluster.ClientPort, name, name),
	}
}

// best is the spare that wantedNodes would give the next seat.
func (in input) best(fit []cluster.Node) cluster.Node {
	best := fit[0]
	for _, n := range fit {
		if in.seat(n, in.carriers()).less(in.seat(best, in.carriers())) {
			best = n
		}
	}
	return best
}

func (in input) noSpare(m cluster.Member, spares []cluster.Node) Reason {
	name := in.name(m)
	var why []string
	for _, n := range spares {
		text := in.unfit(n)
		if version := in.joinVersion(); text == "" && !hasVersion(in.node(n.Hostname), version) {
			text = "etcd " + version + " is not installed"
		}
		why = append(why, fmt.Sprintf("%s: %s", n.Hostname, orElse(text, "it was not measured lately")))
	}
	return Reason{
		Level: Blocked, Rule: "noSpareCanReplaceIt", Node: name,
		Text: fmt.Sprintf("member %s has not served since %s, and no spare can take its place: %s", m.ID, in.clock(m.UnhealthySince),
			orElse(strings.Join(why, "; "), "there is none")),
		Hint: "bring " + string(name) + " back, and its member rejoins by itself; or add a node with control_plane: true to cluster.yml",
	}
}
