package sim

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

// The simulated etcd. Each replica keeps its own place in the log and the
// membership as of it; who leads and what is agreed comes from the replicas of
// the processes that run and reach one another, and is never assumed.

// peer is one entry of a membership, config a membership. A config is replaced,
// never changed in place.
type peer struct {
	id      cluster.MemberID
	name    string
	url     string
	learner bool
}

type config []peer

func (c config) find(id cluster.MemberID) (peer, bool) {
	i := slices.IndexFunc(c, func(p peer) bool { return p.id == id })
	if i < 0 {
		return peer{}, false
	}
	return c[i], true
}

func (c config) votes(id cluster.MemberID) bool {
	p, ok := c.find(id)
	return ok && !p.learner
}

func (c config) voters() []peer {
	return slices.DeleteFunc(slices.Clone(c), func(p peer) bool { return p.learner })
}

func (c config) quorum() int {
	n := 0
	for _, p := range c {
		if !p.learner {
			n++
		}
	}
	return cluster.Quorum(n)
}

func (c config) with(p peer) config { return append(c.without(p.id), p) }

func (c config) without(id cluster.MemberID) config {
	return slices.DeleteFunc(slices.Clone(c), func(p peer) bool { return p.id == id })
}

func (c config) hasURL(url string) bool {
	return slices.ContainsFunc(c, func(p peer) bool { return p.url == url })
}

// replica is what a member has on disk, and in memory while it runs.
type replica struct {
	mark  bool
	index uint64
	cfg   config
	token string // of its founding
	size  int64  // of its database's file
	// storage is the line its data is of, ran the version it was last run with.
	storage cluster.Minor
	ran     string
	bad     uint32 // 0: its data is what was agreed
}

// consensus is what all replicas together amount to.
type consensus struct {
	at     time.Time // up to when it is worked out
	leader cluster.MemberID
	term   uint64
	due    time.Time // of the next election; zero while there is none
	lastID cluster.MemberID
	auth   cluster.Auth
	token  string
	// acked: every entry up to here was acknowledged; agreed is the membership
	// as of it.
	acked  uint64
	agreed config
	turn   int
	// ran are the members that ever had a log, removed those taken out again, by
	// the entry that did it.
	ran     map[cluster.MemberID]bool
	served  map[cluster.MemberID]time.Time // when it was last connected
	missed  map[cluster.MemberID]time.Time // when it had been before it was away last
	back    map[cluster.MemberID]time.Time // since when it is again, or was when it last was
	removed map[cluster.MemberID]uint64
	rate    uint64 // of writes per second
	room    room
	line    line
	moves   int // of the leadership
	// voted is when the present leader was elected; zero: leadership was handed to it.
	voted time.Time
	// lost is since when nobody leads, again since when somebody does after long.
	lost, again time.Time

	corruption corruption
}

func newConsensus(now time.Time) consensus {
	return consensus{
		at: now, lastID: 0xc000, room: room{live: 50 << 20, revision: 1000}, ran: map[cluster.MemberID]bool{}, served: map[cluster.MemberID]time.Time{}, missed: map[cluster.MemberID]time.Time{}, back: map[cluster.MemberID]time.Time{}, removed: map[cluster.MemberID]uint64{}, rate: 100,
		auth: cluster.Auth{Users: map[string][]string{}, Roles: map[string][]cluster.Permission{}},
	}
}

// longLost is how long there was no leader when nobody can be held to have been away.
const longLost = 20 * time.Second

func (r *consensus) elected(p *process) {
	if r.leader == 0 && !r.lost.IsZero() && r.at.Sub(r.lost) >= longLost {
		r.again = r.at
	}
	r.leader, r.due, r.voted = p.unit.Member, time.Time{}, time.Time{}
	r.term++
	r.moves++
}

const (
	healthInterval = 5 * time.Second  // etcdserver.HealthInterval
	noticed        = 12 * time.Second // until peers let go of one that fell silent
	givenUp        = 10 * time.Second // until a write to one is (twice rafthttp.ConnWriteTimeout)
	catchUpRate    = 6000             // entries per second that one behind is sent
	electionLeast  = time.Second
	electionMost   = 2 * time.Second
	// inSync is how far one behind may be to be even again at once.
	inSync = 500
)

// members are the machines whose processes reach one another, in order.
func (w *World) members() []*machine {
	var ms []*machine
	for _, n := range w.order {
		if m := w.machines[n]; m.connected(w.raft.at) {
			ms = append(ms, m)
		}
	}
	return ms
}

func (w *World) lead() *machine {
	if w.raft.leader == 0 {
		return nil
	}
	for _, n := range w.order {
		if m := w.machines[n]; m.proc != nil && m.proc.unit.Member == w.raft.leader && m.connected(w.raft.at) {
			return m
		}
	}
	return nil
}

// serving: there is a leader whom a quorum follows.
func (w *World) serving() bool { return w.lead() != nil }

func replicasOf(ms []*machine) map[cluster.MemberID]*replica {
	all := make(map[cluster.MemberID]*replica, len(ms))
	for _, m := range ms {
		all[m.proc.unit.Member] = m.proc.replica
	}
	return all
}

// electable: r votes in its own membership and a quorum of that would elect it,
// for nobody votes for a shorter log than its own (raft, section 5.4.1).
func electable(r *replica, id cluster.MemberID, all map[cluster.MemberID]*replica) bool {
	if !r.cfg.votes(id) {
		return false
	}
	votes := 0
	for _, p := range r.cfg {
		if v, ok := all[p.id]; ok && !p.learner && v.token == r.token && v.index <= r.index {
			votes++
		}
	}
	return votes >= r.cfg.quorum()
}

// follows says whether a quorum of the leader's membership is connected.
func follows(r *replica, all map[cluster.MemberID]*replica) bool {
	n := 0
	for _, p := range r.cfg {
		if v, ok := all[p.id]; ok && !p.learner && v.token == r.token {
			n++
		}
	}
	return n >= r.cfg.quorum()
}

// advance brings the members to the present.
func (w *World) advance() {
	now := time.Now()
	for w.raft.at.Before(now) {
		next := now
		if due := w.raft.due; due.After(w.raft.at) && due.Before(next) {
			next = due
		}
		for _, m := range w.machines {
			if m.proc != nil && m.proc.up.After(w.raft.at) && m.proc.up.Before(next) {
				next = m.proc.up
			}
		}
		d := next.Sub(w.raft.at)
		w.raft.at = next
		w.settle()
		w.write(d)
	}
}

// settle sees whether the leader still leads, and elects another when it is time.
func (w *World) settle() {
	w.endRemoved(w.members())
	w.chooseSide()
	w.elect()
	w.look()
}

func (w *World) elect() {
	ms := w.members()
	all := replicasOf(ms)
	if l := w.lead(); l != nil && follows(l.proc.replica, all) {
		w.raft.due = time.Time{}
		return
	}
	if w.raft.leader != 0 {
		w.logf("etcd: %s leads no more", w.raft.leader)
		w.raft.leader, w.raft.lost = 0, w.raft.at
	}
	var best *process
	for _, m := range ms {
		if p := m.proc; electable(p.replica, p.unit.Member, all) && (best == nil || p.index > best.index) {
			best = p
		}
	}
	switch {
	case best == nil:
		w.raft.due = time.Time{}
	case w.raft.due.IsZero():
		w.raft.due = w.raft.at.Add(w.between("election", electionLeast, electionMost))
	case !w.raft.at.Before(w.raft.due):
		w.raft.elected(best)
		w.raft.voted = w.raft.at
		w.logf("etcd: %s leads, term %d", w.raft.leader, w.raft.term)
		if best.index < w.raft.acked && best.token == w.raft.token {
			w.violate("acknowledgedWritesSurvive", "member %s leads with %d entries, %d were acknowledged", best.unit.Member, best.index, w.raft.acked)
		}
	}
}

// endRemoved: members that any peer knows as removed end; rafthttp answers them
// so, with a leader or without.
func (w *World) endRemoved(ms []*machine) {
	if len(w.raft.removed) == 0 {
		return
	}
	var most uint64
	for _, m := range ms {
		most = max(most, m.proc.index)
	}
	for _, m := range ms {
		if at, ok := w.raft.removed[m.proc.unit.Member]; ok && at <= most {
			m.exits("exit status 0: the member has been permanently removed from the cluster")
		}
	}
}

// write lets clients write, and those behind catch up, for some time.
func (w *World) write(d time.Duration) {
	l := w.lead()
	if l == nil || d <= 0 {
		return
	}
	r := l.proc.replica
	caught := uint64(d.Seconds()*catchUpRate) + inSync
	for _, m := range w.members() {
		id := m.proc.unit.Member
		if last, ok := w.raft.served[id]; ok && w.raft.at.Sub(last) > justNow {
			w.raft.missed[id], w.raft.back[id] = last, w.raft.at
		}
		w.raft.served[id] = w.raft.at
		delete(w.stoppedByCKE, m.proc.unit.Member)
		if p := m.proc; m != l && p.token == r.token {
			if p.index = min(r.index, p.index+caught); p.index == r.index {
				p.cfg = r.cfg
			}
		}
	}
	writes := uint64(d.Seconds() * float64(w.raft.rate))
	if len(w.raft.corruption.alarms) > 0 {
		writes = 0 // they are refused
	}
	w.propose(writes, r.cfg)
	w.spread()
	w.settleVersion()
	w.settleCorruption()
	if l = w.lead(); l != nil {
		w.publishNames(l)
	}
}

// publishNames: a member that has joined tells its name.
func (w *World) publishNames(l *machine) {
	for _, m := range w.members() {
		p, ok := l.proc.cfg.find(m.proc.unit.Member)
		if ok && p.name == "" && m.proc.index+inSync >= l.proc.index {
			p.name = string(m.name())
			w.propose(1, l.proc.cfg.with(p))
		}
	}
}

// propose appends n entries, the last of which makes the membership cfg. Only
// just enough voters of the old membership hold them at first, each time others.
// It is false when too few are even with the leader for anything to be agreed.
func (w *World) propose(n uint64, cfg config) bool {
	l := w.lead()
	old := l.proc.cfg
	need := old.quorum()
	if old.votes(w.raft.leader) {
		need--
	}
	var even []*process
	for _, m := range w.members() {
		if m != l && old.votes(m.proc.unit.Member) && m.proc.index == l.proc.index {
			even = append(even, m.proc)
		}
	}
	if len(even) < need {
		return false
	}
	l.proc.index, l.proc.cfg = l.proc.index+n, cfg
	w.raft.turn++
	for i := range need {
		p := even[(i+w.raft.turn)%len(even)]
		p.index, p.cfg = l.proc.index, cfg
	}
	w.raft.acked, w.raft.agreed = l.proc.index, cfg
	return true
}
