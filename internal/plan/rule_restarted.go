package plan

import (
	"fmt"
	"strings"
	"time"

	"cke/internal/cluster"
)

// How long a restarted member may take to serve before it is rolled back: one
// that keeps ending says sooner that it will not.
const (
	keepsEndingPatience = 10 * time.Second
	comeBackPatience    = time.Minute
	// endsToBlame is how often a member must have ended with its settings for that to be
	// theirs: once or twice it may for a reason that passes.
	endsToBlame = 3
)

// ruleRestarted follows a member that was restarted with other settings until it
// serves, and rolls it back to what it last worked with when it does not. It asks
// for no quorum: in a small cluster there is none before that member serves.
func ruleRestarted(in input) verdict {
	r := in.st.Restart
	if r == nil {
		return verdict{}
	}
	if why := in.restartIsOver(*r); why != "" {
		return verdict{steps: []Step{{Kind: FinishRestart, Nodes: []cluster.NodeName{r.Node}, Member: r.Member, Restart: r, Reason: why}}}
	}
	if r.Failed != "" {
		return in.rolledBack(*r)
	}
	if why := in.didNotComeBack(*r); why != "" {
		return in.rollBack(*r, why)
	}
	v := verdict{hold: !in.restartIsDue(*r) && in.now.Sub(r.At) < comeBackPatience}
	// Its endpoint was withdrawn for this. Where its host is slow to say that it was
	// stopped, clients must not be sent there again just before it is.
	if m, ok := in.st.Etcd.Member(r.Member); ok && m.Healthy && !tooFew(in.st.Etcd) && !in.restartIsDue(*r) {
		v.outgoing, v.stops = m.ID, true
	}
	v.reasons = []Reason{{
		Level: Waiting, Rule: "memberIsRestarting", Node: r.Node,
		Text: fmt.Sprintf("member %s is restarted with other settings (%s) and does not serve with them yet", r.Member, whatChanges(r.From, r.To)),
	}}
	if why := in.machineToBlame(*r); why != "" {
		v.reasons[0].Text += "; they are not to blame: " + why
	}
	v.reasons = append(v.reasons, in.rollBackHeldOff(*r)...)
	return v
}

// rollBackHeldOff says of a member that fails with its new settings why it keeps them.
func (in input) rollBackHeldOff(r cluster.Restart) []Reason {
	why, unsafe := in.fails(r), in.rollBackUnsafe(r)
	if why == "" || unsafe == "" {
		return nil
	}
	return []Reason{rollBackMustWait(r, fmt.Sprintf("does not serve with its new settings (%s): %s", whatChanges(r.From, r.To), why), unsafe)}
}

// rollBackMustWait: to be rolled back a member is stopped, and what cke cannot see may
// stand on it.
func rollBackMustWait(r cluster.Restart, what, unsafe string) Reason {
	return Reason{
		Level: Blocked, Rule: "rollBackMustWait", Node: r.Node,
		Text: fmt.Sprintf("member %s %s; it is not stopped to be rolled back, for the quorum may need it: %s", r.Member, what, unsafe),
		Hint: "bring the other members back; where a firewall is in the way, open port 2379 of the members to cke. cke then goes on by itself",
	}
}

// underRestart: the node's member has the settings that its record says.
func (in input) underRestart(n cluster.NodeName) bool {
	r := in.st.Restart
	return r != nil && r.Failed == "" && r.Node == n
}

// restartIsOver says why a record is not needed any more, or nothing.
func (in input) restartIsOver(r cluster.Restart) string {
	e := in.st.Etcd
	m, member := e.Member(r.Member)
	_, known := in.nodeOf(cluster.Member{PeerURL: in.peerURL(r.Node)})
	switch {
	case r.Failed != "" && in.noWayBack(r):
		return "the cluster is of the newer etcd by now, so that its members serve with it"
	case r.Failed != "" && !in.settingsFailed():
		return "the spec says other settings now than those that failed"
	case r.Failed != "": // and whatever becomes of the member
		switch {
		case in.servesAfterAll(r, m):
			return "the member serves with its new settings after all"
		case in.neverServedSince(r, m) && !in.rollsBack(r.Node):
			return "the member does not serve with what it had before either: its new settings are not to blame"
		}
		return ""
	case !known, e.Quorum && !member:
		return "the member is not in the cluster any more"
	}
	u := in.node(r.Node).Unit
	if in.notBegun(r) && !in.restartIsDue(r) {
		return "the restart was not begun: the member's unit is what it was"
	}
	if usable(in.node(r.Node)) && u != nil && u.Started != nil && !in.restartIsDue(r) && m.Healthy && InSync(e, m) {
		return "the member serves with its settings"
	}
	if in.blameless(r) && !in.restartIsDue(r) && in.now.Sub(r.At) >= comeBackPatience {
		return "the member does not serve, and giving it what it had before would not help"
	}
	return ""
}

// servesAfterAll: it was to be rolled back, and has come to serve before its old unit
// was there. Nothing that serves is stopped for what was decided before.
func (in input) servesAfterAll(r cluster.Restart, m cluster.Member) bool {
	ns := in.node(r.Node)
	u := ns.Unit
	return usable(ns) && u != nil && u.Started != nil && u.Started.Member == r.Member && u.Started.SameSettings(r.To) && m.Healthy && InSync(in.st.Etcd, m)
}

// neverServedSince: it was rolled back and could have served since, but was not seen
// to. One that has, and fails later, or is away, says nothing for its new settings.
func (in input) neverServedSince(r cluster.Restart, m cluster.Member) bool {
	return m.ID == r.Member && usable(in.node(r.Node)) && !in.drained(r.Node) && !m.Healthy && !m.UnhealthySince.After(r.At) &&
		in.notServedSince(r, m) >= comeBackPatience
}

func (in input) peerURL(name cluster.NodeName) string {
	for _, n := range in.nodes {
		if n.Hostname == name {
			return n.PeerURL()
		}
	}
	return ""
}

// restartIsDue: the unit is there, and its process is still the old one; or the unit
// could not be installed a moment ago, and that is tried again.
func (in input) restartIsDue(r cluster.Restart) bool {
	u := in.node(r.Node).Unit
	if r.Failed != "" || u == nil || u.Started == nil {
		return false
	}
	return u.StaleCA || !u.Started.SameSettings(u.Unit) || in.notBegun(r) && in.asksFor(r.To) && in.now.Sub(r.At) < comeBackPatience
}

// notBegun: the member has not got its new unit, and its process is not of another.
func (in input) notBegun(r cluster.Restart) bool {
	u := in.node(r.Node).Unit
	return r.Failed == "" && usable(in.node(r.Node)) && u != nil && u.Unit.Member == r.Member && !u.Unit.SameSettings(r.To) &&
		(u.Started == nil || u.Started.SameSettings(u.Unit))
}

// blameless: whatever becomes of the member, there is no way back. Its settings are
// as before, or it did not serve before either, or the cluster is of the newer etcd by
// now, and so the member has served with it.
func (in input) blameless(r cluster.Restart) bool {
	return r.Down || r.From.SameSettings(r.To) || in.noWayBack(r)
}

// noWayBack: the data is of a newer etcd than the member had before. A record of that
// may be as old as the backup that CKE's state was restored from.
func (in input) noWayBack(r cluster.Restart) bool {
	for _, m := range in.st.Etcd.HealthyVoters() {
		if cluster.MinorOf(r.From.Version).Before(cluster.MinorOf(m.Storage)) {
			return true
		}
	}
	return false
}

// didNotComeBack says how a member fails that is rolled back for it, or nothing. One
// that ends may have been started again by now.
func (in input) didNotComeBack(r cluster.Restart) string {
	if in.rollBackUnsafe(r) != "" {
		return ""
	}
	return in.fails(r)
}

func (in input) rollBackUnsafe(r cluster.Restart) string {
	m, _ := in.st.Etcd.Member(r.Member)
	return rollBackUnsafe(in.st.Etcd, m)
}

// fails says how a member fails with its new settings, or nothing.
func (in input) fails(r cluster.Restart) string {
	ns := in.node(r.Node)
	u := ns.Unit
	if in.blameless(r) || in.drained(r.Node) || !usable(ns) || u == nil || u.Unit.Member != r.Member || !u.Unit.SameSettings(r.To) || u.DataLost || u.NotMounted != "" || in.restartIsDue(r) {
		return ""
	}
	m, _ := in.st.Etcd.Member(r.Member)
	if m.Healthy {
		return ""
	}
	switch {
	case in.machineToBlame(r) != "":
		return ""
	case keepsEnding(u) && in.endsLately(r.Node) >= endsToBlame && in.now.Sub(r.At) >= keepsEndingPatience:
		return "it keeps ending: " + u.Exit + lastWords(u)
	// Who was killed says nothing of its settings, unless it is whenever it runs.
	case u.Ended() && in.endsLately(r.Node) >= endsToBlame && in.notServedSince(r, m) >= comeBackPatience:
		return fmt.Sprintf("it keeps ending and has not served for %s: %s", comeBackPatience, u.Exit)
	case !in.asksFor(r.To) && in.notServedSince(r, m) >= comeBackPatience:
		return fmt.Sprintf("it has not served for %s, and the spec says other settings by now", comeBackPatience)
	case u.Running && in.notServedSince(r, m) >= comeBackPatience && in.now.Sub(in.node(r.Node).RunsSince) >= comeBackPatience:
		return fmt.Sprintf("it runs and has not served for %s", comeBackPatience)
	}
	return ""
}

// machineToBlame is why a member that is restarted ended, if its settings have nothing
// to do with it: it is waited for as any other is that ended so.
func (in input) machineToBlame(r cluster.Restart) string {
	ns := in.node(r.Node)
	switch u := ns.Unit; {
	case !usable(ns) || u == nil || u.Running:
		return ""
	case ns.Full():
		return "there is no room for its data"
	case len(ns.BusyPorts) > 0:
		return "another program has its ports"
	case ns.CertificatesFail:
		return "its certificates are not right"
	case !in.asksFor(r.To):
		return "" // whatever it said, a person has put others in their place
	default:
		return u.MachineToBlame()
	}
}

// asksFor: these settings are the spec's.
func (in input) asksFor(u cluster.Unit) bool {
	return u.SameSettings(wantedUnit(cluster.Spec{Etcd: in.asked}, cluster.Node{}, 0))
}

// notServedSince is for how long a member has not served since its record was
// written. Of one that this cke has not watched all the time, not all is known; and
// while its host was away, or too many others were, nobody could serve.
func (in input) notServedSince(r cluster.Restart, m cluster.Member) time.Duration {
	if !in.st.Etcd.Quorum && in.voterCount() > 2 {
		return 0
	}
	couldSince := later(in.node(r.Node).AnswersSince, in.st.Etcd.QuorumSince)
	return in.now.Sub(later(later(r.At, couldSince), m.UnhealthySince))
}

func lastWords(u *cluster.UnitState) string {
	if log := strings.TrimSpace(u.Log); log != "" {
		return ": " + strings.ReplaceAll(log, "\n", " / ")
	}
	return ""
}

// rollBack gives a member what it last worked with again.
func (in input) rollBack(r cluster.Restart, why string) verdict {
	v := verdict{reasons: []Reason{{
		Level: Blocked, Rule: "memberDidNotComeBack", Node: r.Node,
		Text: fmt.Sprintf("member %s does not serve with its new settings (%s): %s", r.Member, whatChanges(r.From, r.To), why),
		Hint: "it is rolled back to what it last worked with; mend the settings in cluster.yml, then ckecli cluster set",
	}}}
	n := in.nodeNamed(r.Node)
	if !hasVersion(in.node(r.Node), r.From.Version) {
		in.needVersion(&v, n, r.From.Version)
		return v
	}
	r.Failed = why
	v.steps = append(v.steps, rollBackStep(r))
	return v
}

func rollBackStep(r cluster.Restart) Step {
	return Step{
		Kind: RollBackMember, Nodes: []cluster.NodeName{r.Node}, Member: r.Member, Restart: &r,
		Reason: fmt.Sprintf("the member does not serve with its new settings (%s): %s", whatChanges(r.From, r.To), r.Failed),
	}
}

func (in input) nodeNamed(name cluster.NodeName) cluster.Node {
	for _, n := range in.nodes {
		if n.Hostname == name {
			return n
		}
	}
	return cluster.Node{}
}

// rolledBack: these settings are not tried again. A daemon may have been killed
// between writing that down and doing it.
func (in input) rolledBack(r cluster.Restart) verdict {
	v := verdict{reasons: []Reason{{
		Level: Blocked, Rule: "settingsFailed", Node: r.Node,
		Text: fmt.Sprintf("the member did not serve with new settings (%s) and was rolled back; no other member gets them. What it said: %s", whatChanges(r.From, r.To), r.Failed),
		Hint: "mend the settings in cluster.yml, then ckecli cluster set",
	}}}
	if !in.rollsBack(r.Node) || in.drained(r.Node) { // which would start it
		return v
	}
	if unsafe := in.rollBackUnsafe(r); unsafe != "" {
		v.reasons = append(v.reasons, rollBackMustWait(r, "may serve for now with the settings that failed", unsafe))
		return v
	}
	v.steps = []Step{rollBackStep(r)}
	return v
}

// rollBackUnsafe says why this voter must not be stopped to be rolled back, or
// nothing. One that does not serve costs nothing; one that came to serve since may be
// what the quorum needs, and so may one that cke alone does not reach, where more take
// part than it reaches.
func rollBackUnsafe(e cluster.EtcdState, m cluster.Member) string {
	voters, others := len(e.Voters()), len(e.HealthyVoters())
	if m.Healthy {
		others--
	}
	if !m.Healthy && !e.Quorum || m.Learner || tooFew(e) || others >= cluster.Quorum(voters) {
		return ""
	}
	return fmt.Sprintf("only %d of the other %d voters serve, and a quorum is %d", others, voters-1, cluster.Quorum(voters))
}

// rollsBack: the plan gives the node's member its old unit.
func (in input) rollsBack(n cluster.NodeName) bool {
	r := in.st.Restart
	if r == nil || r.Node != n {
		return false
	}
	ns := in.node(n)
	if r.Failed == "" {
		return in.restartIsOver(*r) == "" && in.didNotComeBack(*r) != "" && hasVersion(ns, r.From.Version)
	}
	u := ns.Unit
	if _, member := in.st.Etcd.Member(r.Member); in.st.Etcd.Quorum && !member {
		return false
	}
	return in.settingsFailed() && usable(ns) && u != nil && u.Unit.Member == r.Member &&
		(u.Unit.SameSettings(r.To) || u.Started != nil && u.Started.SameSettings(r.To))
}

// settingsFailed: what the spec asks for is what a member did not serve with.
func (in input) settingsFailed() bool {
	r := in.st.Restart
	return r != nil && r.Failed != "" && !in.noWayBack(*r) && in.asksFor(r.To)
}
