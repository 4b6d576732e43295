package sim

import (
	"context"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/record"
)

// What no cke may do, whatever happens to it: the rules that always hold. Each
// is said anew here and not taken from the plan's own rules.

// canServe: there is a leader, or one could be elected at once.
func (w *World) canServe() bool {
	ms := w.members()
	all := replicasOf(ms)
	return slices.ContainsFunc(ms, func(m *machine) bool {
		return electable(m.proc.replica, m.proc.unit.Member, all) || m.proc.unit.Member == w.raft.leader
	})
}

// replicas are the logs that are or can be in use: in a running process, or whole
// on a disk. What was moved aside or wiped is not.
func (w *World) replicas() map[cluster.MemberID]*replica {
	all := map[cluster.MemberID]*replica{}
	for _, m := range w.machines {
		for id, r := range m.dirs {
			if (r.mark || !m.seals[id]) && r.token != "none" {
				all[id] = r
			}
		}
		if m.proc != nil && m.proc.token != "none" {
			all[m.proc.unit.Member] = m.proc.replica
		}
	}
	return all
}

// intact is how many voters still have their log. A founder that never ran has
// nothing to lose while the cluster is being founded.
func (w *World) intact() int {
	all, n := w.replicas(), 0
	for _, v := range w.raft.agreed.voters() {
		if r := all[v.id]; r != nil && r.bad == 0 || w.shelf.boot.Phase != cluster.PhaseBootstrapped && !w.raft.ran[v.id] {
			n++
		}
	}
	return n
}

// lostForGood: too many voters lost their data for any quorum ever again.
func (w *World) lostForGood() bool {
	return w.raft.acked > 0 && w.intact() < w.raft.agreed.quorum()
}

// inspect holds what must be true at every instant: whoever could be elected with
// the logs there are has every acknowledged entry, and somebody could be unless
// the environment destroyed a quorum.
func (w *World) inspect() {
	all, some := w.replicas(), false
	for _, id := range sortedIDs(all) {
		r := all[id]
		if r.token != w.raft.token || !electable(r, id, all) {
			continue
		}
		some = true
		if r.index < w.raft.acked {
			w.violate("acknowledgedWritesSurvive", "member %s can be elected with %d entries; %d were acknowledged", id, r.index, w.raft.acked)
		}
	}
	if w.shelf.boot.Phase == cluster.PhaseBootstrapped && !some && !w.lostForGood() {
		w.violate("quorumIsKept", "nobody can be elected, though %d of %d voters have their data", w.intact(), len(w.raft.agreed.voters()))
	}
}

// servingVoters are those that serve or did when this was decided, but for one,
// and for those that a daemon has stopped.
func (w *World) servingVoters(but cluster.MemberID) int {
	n := 0
	for _, p := range w.raft.agreed.voters() {
		m := w.byPeerURL(p.url)
		serves := m != nil && m.connected(w.raft.at) && m.running(p.id)
		if p.id != but && (serves || w.raft.at.Sub(w.raft.served[p.id]) < w.takes() && !w.stoppedByCKE[p.id]) {
			n++
		}
	}
	return n
}

func (w *World) judgeAdd(url string) {
	if w.raft.agreed.hasURL(url) {
		return // etcd refuses it: a killed cke asked for it, and the next one was faster
	}
	if m := w.byPeerURL(url); m != nil {
		w.judgeDrainedAdd(m)
	}
	w.judgeSpread(url)
	for _, p := range w.raft.agreed {
		if p.learner && p.url != url {
			w.violate("oneMembershipChangeAtATime", "a learner is added for %s while %s learns", url, p.url)
		}
	}
	m := w.byPeerURL(url)
	if m != nil && (m.unit != nil || len(m.dirs) > 0) && m.hears() {
		w.violate("oldDataIsAsideFirst", "a learner is added for %s, which still carries another member's data", m.name())
	}
}

// slackOfPromotion is how many entries a learner may be behind to count as caught
// up: what the product allows, and what is written while it makes up its mind.
const slackOfPromotion = 2500

func (w *World) judgePromote(id cluster.MemberID) {
	p, ok := w.raft.agreed.find(id)
	if !ok || !p.learner {
		return // etcd refuses it
	}
	m, r := w.byPeerURL(p.url), w.replicas()[id]
	switch {
	case m == nil || r == nil || !m.running(id) && w.raft.at.Sub(m.quit) > justNow+w.lags:
		w.violate("learnersAreCaughtUp", "learner %s is promoted, and does not run", id)
	case r.index+slackOfPromotion+uint64(w.lags.Seconds()*float64(w.raft.rate)) < w.raft.acked:
		w.violate("learnersAreCaughtUp", "learner %s is promoted with %d of %d entries", id, r.index, w.raft.acked)
	}
}

// justNow is how long a look and what is made of it may take: a member that came
// back since is not taken into account.
const justNow = 5 * time.Second

// fellJustNow is how long the last look of a step may be ago, where nobody has to
// be waited for.
const fellJustNow = time.Second

// leads: it does, and the daemon could know. One that was elected since its look is
// stopped or removed as it would be by who looks a moment too soon: another election
// follows, and nothing that was acknowledged is lost.
func (w *World) leads(ctx context.Context, c *CKE, id cluster.MemberID) bool {
	return w.raft.leader == id && len(w.raft.agreed.voters()) > 1 && (w.raft.voted.IsZero() || !c.unawares(ctx, w.raft.voted))
}

func (w *World) judgeRemove(ctx context.Context, c *CKE, id cluster.MemberID) {
	p, ok := w.raft.agreed.find(id)
	if !ok || p.learner {
		return
	}
	now, m := w.raft.at, w.byPeerURL(p.url)
	voters := len(w.raft.agreed.voters())
	if others := w.servingVoters(id); others < cluster.Quorum(voters-1) || voters == 1 {
		w.violate("quorumIsKept", "voter %s is removed, and of the other %d only %d serve", id, voters-1, others)
	}
	if w.leads(ctx, c, id) {
		w.violate("leaderIsMovedFirst", "voter %s is removed while it leads", id)
	}
	if why := w.needless(m, id); why != "" && !w.editedLately() && !w.deadForLong(c, m, id) {
		w.violate("noVoterIsRemovedInVain", "voter %s is removed, though %s", id, why)
	}
	if m == nil {
		return
	}
	serves := m.connected(now) && m.running(id)
	switch {
	case m.lingers(now) && !c.unawares(ctx, m.gone):
		w.violate("peersNoticeFirst", "voter %s is removed %s after its machine fell silent", id, now.Sub(m.gone))
	case m.clogs(now) && w.lead().hears() && !c.unawares(ctx, m.clogged()):
		w.violate("leaderIsNotStuck", "voter %s is removed while the leader is stuck in a write to it", id)
	case serves && now.Sub(m.proc.met) > justNow && w.offered(m) && !w.editedLately():
		w.violate("clientsAreLedAwayFirst", "voter %s is removed while clients are sent to it", id)
	}
	if serves {
		w.judgeGatewaysLeadAway(m, "removed", true)
	}
}

// needless says why a voter should stay: it has its data and its node is wanted.
func (w *World) needless(m *machine, id cluster.MemberID) string {
	able, fits := 0, false
	for _, p := range w.raft.agreed.voters() {
		for _, n := range w.shelf.spec.Nodes {
			if n.ControlPlane && n.PeerURL() == p.url {
				able++
				fits = fits || p.id == id
			}
		}
	}
	if m == nil || !fits || able > w.shelf.spec.WantedVoters() {
		return ""
	}
	if r := m.dirs[id]; r != nil && (r.mark || !m.seals[id]) && !w.badData(id) {
		return "its data is on " + string(m.name()) + " and it is wanted"
	}
	return ""
}

// deadForLong: it has not served for replace_after, but for what a look takes. One
// that crashes again and again serves for moments in between, which no look meets.
func (w *World) deadForLong(c *CKE, m *machine, id cluster.MemberID) bool {
	served, ok := w.raft.served[id]
	if m.crashes {
		return true
	}
	if !ok {
		served = w.began
	}
	if last, ok := w.raft.missed[id]; ok && m.running(id) && w.raft.at.Sub(m.proc.met) <= justNow {
		served = last // that it is back no look has met
	} else if ok && served.Sub(w.raft.back[id]) <= justNow && c.deeds.met[id].Before(w.raft.back[id]) {
		served = last // it was back for a moment, which no look has met
	}
	if w.raft.again.After(served) {
		served = w.raft.again // before that nobody could serve
	}
	return w.raft.at.Sub(served) >= w.shelf.spec.Etcd.ReplaceAfter.Std()-justNow && !(m.connected(w.raft.at) && m.running(id) && w.raft.at.Sub(m.proc.met) > justNow)
}

// editedLately: what a daemon acts on now may be the spec before.
func (w *World) editedLately() bool { return time.Since(w.shelf.edited) < justNow+w.lags }

func (w *World) judgeRetire(m *machine, id cluster.MemberID) {
	if _, member := w.raft.agreed.find(id); member {
		w.violate("membersKeepTheirData", "member %s is in the cluster, and its data on %s is moved aside", id, m.name())
	}
}

// fellLately: with those voters that ceased to serve while this was decided there
// would be a quorum.
func (w *World) fellLately() bool { return w.servingVoters(0) >= w.raft.agreed.quorum() }

// takes is how long a step may take from its last look at the members to its
// effect: the slowest machine's answer, and etcd's.
func (w *World) takes() time.Duration {
	d := justNow + w.lags
	for _, m := range w.machines {
		d = max(d, justNow+m.slow)
	}
	return d
}

// mayInterrupt: of two voters or one none can be spared. A person who changed the
// settings has asked for it.
func (w *World) mayInterrupt(m *machine) bool {
	r := w.shelf.restart
	asked := w.raft.room.noSpace || slices.ContainsFunc(w.shelf.defrag, func(d cluster.DefragRequest) bool { return d.Node == m.name() })
	return len(w.raft.agreed.voters()) <= 2 && (asked || r != nil && r.Node == m.name()) || w.mayDrain(m)
}

// judgeStop is of a stop by a daemon.
func (w *World) judgeStop(ctx context.Context, c *CKE, m *machine) {
	id := m.proc.unit.Member
	if !w.raft.agreed.votes(id) || !m.connected(w.raft.at) || w.mayInterrupt(m) {
		return
	}
	if !w.judgeDrainStop(ctx, c, m) {
		w.judgeRest(ctx, c, m, "stopped")
	}
}

// judgeRest is of the rest of the cluster while a member is stopped or stands
// still: all others serve, another leads, and clients go elsewhere.
func (w *World) judgeRest(ctx context.Context, c *CKE, m *machine, what string) {
	id, voters := m.proc.unit.Member, w.raft.agreed.voters()
	if !w.raft.agreed.votes(id) {
		return
	}
	for _, p := range voters {
		o := w.byPeerURL(p.url)
		if p.id != id && (o == nil || !o.connected(w.raft.at) && (w.raft.at.Sub(w.raft.served[p.id]) > w.takes() || w.stoppedByCKE[p.id])) {
			w.violate("oneMemberDownAtATime", "voter %s is %s while %s does not serve", id, what, p.id)
		}
	}
	w.judgeLedAway(ctx, c, m, what)
	w.judgeGatewaysLeadAway(m, what, false)
}

// judgeLedAway: another leads, and clients are sent elsewhere.
func (w *World) judgeLedAway(ctx context.Context, c *CKE, m *machine, what string) {
	id := m.proc.unit.Member
	switch {
	case w.leads(ctx, c, id):
		w.violate("leaderIsMovedFirst", "voter %s is %s while it leads", id, what)
	case w.offered(m) && !w.editedLately():
		w.violate("clientsAreLedAwayFirst", "voter %s is %s while clients are sent to it", id, what)
	}
}

func (w *World) judgeBootstrap(b cluster.Bootstrap) {
	was := w.shelf.boot
	switch {
	case b.Phase == cluster.PhaseBootstrapping && (was.Phase != cluster.PhaseNew || w.raft.token != ""):
		w.violate("foundedOnce", "a founding is recorded, and there has been one")
	case b.Phase == cluster.PhaseBootstrapped && !w.raft.auth.Enabled:
		w.violate("authIsOnFirst", "the cluster is recorded as founded while authentication is off")
	case b.Phase == cluster.PhaseBootstrapped && (b.Token != was.Token || b.ClusterID != clusterID(w.raft.token)):
		w.violate("foundedOnce", "another cluster is recorded than the one that was founded")
	}
}

func (w *World) judgeForget(n cluster.NodeName) {
	m := w.machines[n]
	if m == nil || slices.ContainsFunc(w.shelf.spec.Nodes, func(o cluster.Node) bool { return o.Hostname == n }) {
		return // back in the spec meanwhile
	}
	if w.raft.agreed.hasURL(m.peerURL) || m.unit != nil || m.gateway != nil || len(m.dirs) > 0 && !m.unmounted {
		w.violate("leavingNodesAreKept", "%s is forgotten, and still carries its member", n)
	}
}

// judgeAuth holds that nobody is ever given what is not his, and that who has
// gone is not brought back.
func (w *World) judgeAuth(what string, err error) {
	if err != nil {
		return
	}
	if w.shelf.boot.Phase == cluster.PhaseBootstrapped && !w.raft.auth.Enabled && !w.drifted {
		w.violate("authStaysOn", "authentication is off after %s", what)
	}
	right := rightAuth(w.shelf.everUsers)
	for name, perms := range w.raft.auth.Roles {
		for _, p := range perms {
			if name != cluster.RootUser && !slices.Contains(right.Roles[name], p) && !w.drifted {
				w.violate("accessIsNeverWidened", "role %s has %s [%q, %q) after %s", name, p.Type, p.Key, p.RangeEnd, what)
			}
		}
	}
	for user, roles := range w.raft.auth.Users {
		for _, r := range roles {
			if r != user && !w.drifted {
				w.violate("accessIsNeverWidened", "user %s has role %s after %s", user, r, what)
			}
		}
	}
}

func (w *World) judgeDeposed(c *CKE, what string) {
	w.violate("deposedChangesNothing", "cke %d, which is deposed: %s", c.epoch, what)
}

// flood is how many records of one deed are too many.
const flood = 30

func (w *World) judgeRecord(r record.Record) {
	if w.recorded == nil {
		w.recorded = map[string]int{}
	}
	w.recorded[r.What()]++
	if n := w.recorded[r.What()]; n == w.floods(r) {
		w.violate("historyIsNotFlooded", "%s is recorded %d times; its last error: %s", r.What(), n, r.Error)
	}
}
