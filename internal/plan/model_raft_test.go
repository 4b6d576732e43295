package plan

import (
	"errors"
	"slices"
	"time"

	"cke/internal/cluster"
)

// The simulated etcd. Each replica keeps its own log position and the
// membership as of it; leadership and agreement are computed from the replicas
// of the processes that run and reach one another, never assumed.

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

func (c config) with(p peer) config {
	return append(c.without(p.id), p)
}

func (c config) without(id cluster.MemberID) config {
	return slices.DeleteFunc(slices.Clone(c), func(p peer) bool { return p.id == id })
}

// replica is what a member has on disk, and in memory while it runs.
type replica struct {
	mark  bool
	index uint64
	cfg   config
}

// consensus is what all replicas together amount to.
type consensus struct {
	leader cluster.MemberID // 0 while there is none
	term   uint64
	nextID cluster.MemberID
	auth   cluster.Auth
	// acked: every entry up to here was acknowledged; agreed is the membership
	// as of it.
	acked  uint64
	agreed config
	// ran are the members that ever had a log, removed those taken out again, by
	// the entry that did it.
	room    room
	ran     map[cluster.MemberID]bool
	removed map[cluster.MemberID]uint64
	// version is the cluster's, which the members' data has too; downgrade what it is
	// to go down to, or zero.
	version, downgrade cluster.Minor
}

const (
	healthInterval = 5 * time.Second // etcdserver.HealthInterval
	writeRate      = 100             // entries per second
	learnerRate    = 4000            // entries a learner is sent per second
)

// writesWhile is the most that clients and CKE write in a time.
func writesWhile(d time.Duration) uint64 { return uint64(d.Seconds()*writeRate) + 50 }

var (
	errTransient = errors.New("etcd refuses for now")
	errRefused   = errors.New("etcd refuses")
)

// connected are the processes that reach one another, in the order of hosts.
func (s *sim) connected() []*process {
	var ps []*process
	for _, b := range s.boxes() {
		if b.proc != nil && !b.isolated {
			ps = append(ps, b.proc)
		}
	}
	return ps
}

func (s *sim) lead() *process {
	for _, p := range s.connected() {
		if p.unit.Member == s.raft.leader {
			return p
		}
	}
	return nil
}

func (s *sim) serves() bool { return s.lead() != nil }

// electable: p votes in its own membership and a quorum of that would elect it,
// for nobody votes for a shorter log than its own (raft, section 5.4.1).
func electable(p *replica, id cluster.MemberID, all map[cluster.MemberID]*replica) bool {
	if !p.cfg.votes(id) {
		return false
	}
	votes := 0
	for _, v := range p.cfg.voters() {
		if r, ok := all[v.id]; ok && r.index <= p.index {
			votes++
		}
	}
	return votes >= cluster.Quorum(len(p.cfg.voters()))
}

// elect keeps the leader while a quorum follows it, or finds another.
func (s *sim) elect() {
	ps := s.connected()
	all := map[cluster.MemberID]*replica{}
	for _, p := range ps {
		all[p.unit.Member] = p.replica
	}
	if l := s.lead(); l == nil || !electable(l.replica, s.raft.leader, all) {
		s.raft.leader = 0
		var best *process
		for _, p := range ps {
			if electable(p.replica, p.unit.Member, all) && (best == nil || p.index > best.index) {
				best = p
			}
		}
		if best != nil {
			s.raft.leader = best.unit.Member
			s.raft.term++
			s.logf("  member %s leads", s.raft.leader)
		}
	}
	l := s.lead()
	if l == nil {
		return
	}
	if l.index < s.raft.acked {
		s.t.Fatalf("leader %s has %d entries, %d were acknowledged: data is lost", s.raft.leader, l.index, s.raft.acked)
	}
}

// settle lets elections happen, and members that any peer knows as removed end
// (rafthttp answers them 410, with a leader or without).
func (s *sim) settle() {
	var most uint64
	for _, p := range s.connected() {
		most = max(most, p.index)
	}
	for _, b := range s.boxes() {
		if b.proc == nil || b.isolated {
			continue
		}
		if at, ok := s.raft.removed[b.proc.unit.Member]; ok && at <= most {
			s.logf("  removed member %s ends", b.proc.unit.Member)
			b.proc = nil
		}
	}
	s.elect()
}

// propose appends n entries, the last of which makes the membership cfg. Only
// just enough voters of the old membership hold them, each time others.
func (s *sim) propose(n uint64, cfg config) {
	l := s.lead()
	old := l.cfg
	l.index, l.cfg = l.index+n, cfg
	need := cluster.Quorum(len(old.voters())) - 1
	ps := s.connected()
	s.turn++
	for i := range ps {
		p := ps[(i+s.turn)%len(ps)]
		if p != l && old.votes(p.unit.Member) && need > 0 {
			p.index, p.cfg = l.index, l.cfg
			need--
		}
	}
	s.raft.acked, s.raft.agreed = l.index, cfg
	s.settle()
}

// pass lets time go by: clients write, followers and learners catch up, and
// members that have joined publish their names.
func (s *sim) pass(d time.Duration) {
	s.now = s.now.Add(d)
	s.publish()
	l := s.lead()
	if l == nil {
		return
	}
	s.settleVersion()
	s.propose(1+uint64(d.Seconds()*writeRate), l.cfg)
	for _, p := range s.connected() {
		m, ok := l.cfg.find(p.unit.Member)
		switch {
		case !ok:
			continue
		case m.learner:
			p.index = min(l.index, p.index+1+uint64(d.Seconds()*learnerRate))
		case d >= time.Second:
			p.index = l.index
		}
		if p.index == l.index {
			p.cfg = l.cfg
		}
		if m.name == "" && s.serves() {
			m.name = string(p.unit.Node)
			s.propose(1, l.cfg.with(m))
		}
	}
}

// seasoned is how many voters were connected for the health interval, the
// leader itself always (etcdserver.numConnectedSince).
func (s *sim) seasoned(l *process) int {
	n := 0
	for _, p := range s.connected() {
		if l.cfg.votes(p.unit.Member) && (p == l || s.now.Sub(p.up) > healthInterval) {
			n++
		}
	}
	return n
}

// addLearner is MemberAddAsLearner under the strict reconfiguration check.
func (s *sim) addLearner(url string) error {
	l := s.lead()
	voters := len(l.cfg.voters())
	if voters > 1 && s.seasoned(l) < cluster.Quorum(voters+1) {
		return errTransient
	}
	for _, p := range l.cfg {
		if p.learner || p.url == url {
			return errRefused
		}
	}
	s.raft.nextID++
	s.propose(1, l.cfg.with(peer{id: s.raft.nextID, url: url, learner: true}))
	return nil
}

// promote asks the leader how far the learner is, as etcd does.
func (s *sim) promote(id cluster.MemberID) error {
	l := s.lead()
	m, ok := l.cfg.find(id)
	if !ok || !m.learner {
		return errRefused
	}
	if r := s.replicaOf(id); r == nil || float64(r.index) < 0.9*float64(l.index) {
		return errTransient
	}
	started := 1
	for _, v := range l.cfg.voters() {
		if v.name != "" {
			started++
		}
	}
	if started < cluster.Quorum(len(l.cfg.voters())+1) {
		return errTransient
	}
	m.learner = false
	s.propose(1, l.cfg.with(m))
	return nil
}

func (s *sim) remove(id cluster.MemberID) error {
	l := s.lead()
	m, ok := l.cfg.find(id)
	if !ok {
		return errRefused
	}
	if !m.learner {
		started := 0
		for _, v := range l.cfg.without(id).voters() {
			if v.name != "" {
				started++
			}
		}
		voters := len(l.cfg.voters())
		if started < cluster.Quorum(voters-1) {
			return errTransient
		}
		active := slices.ContainsFunc(s.connected(), func(p *process) bool { return p.unit.Member == id })
		if active && s.seasoned(l) <= 1+(voters-1)/2 {
			return errTransient
		}
	}
	s.raft.removed[id] = l.index + 1
	s.propose(1, l.cfg.without(id))
	return nil
}

func (s *sim) moveLeader(to cluster.MemberID) error {
	l := s.lead()
	if !l.cfg.votes(to) {
		return errRefused
	}
	for _, p := range s.connected() {
		if p.unit.Member == to {
			p.index, p.cfg = l.index, l.cfg
			s.raft.leader = to
			s.raft.term++
			return nil
		}
	}
	return errTransient
}
