package plan

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"cke/internal/cluster"
)

// look observes and decides, and holds what must be true of any plan.
func (s *sim) look() Plan {
	twin := s.clone()
	st, same := s.observe(), twin.observe()
	p := Decide(s.store.spec, st, s.now)
	if !reflect.DeepEqual(st, same) || !reflect.DeepEqual(s.store.spec, twin.store.spec) {
		s.t.Fatalf("Decide changed what it was given")
	}
	if again := Decide(twin.store.spec, same, s.now); !reflect.DeepEqual(p, again) {
		s.t.Fatalf("Decide says first\n%sand then\n%s", p, again)
	}
	s.judgeEndpoints(st, p)
	changes := 0
	for _, step := range p.Steps {
		if step.ChangesMembership() {
			changes++
		}
		s.judge(step)
		s.try(step)
	}
	if changes > 1 {
		s.t.Fatalf("%d changes of the membership in one plan:\n%s", changes, p)
	}
	return p
}

// judge holds a step against the world as it truly is.
func (s *sim) judge(step Step) {
	if t := step.Tolerance; t != nil && t.Before >= 0 && (t.During < 0 || t.After < 0) && !s.asksToInterrupt(step) && (!step.Interrupts || s.needlessStall(step)) {
		s.t.Fatalf("a step gives quorum up: %s", step)
	}
	switch step.Kind {
	case InstallEtcd:
		for _, name := range step.Nodes {
			if b := s.hosts[name]; b.node.User == "" || !b.noVersion || b.admit() != nil {
				s.t.Fatalf("etcd is to be put on %s: remote %q, missing %v", name, b.node.User, b.noVersion)
			}
		}
	case RecordBootstrap:
		s.unfit(step)
		for _, name := range step.Nodes {
			if s.hosts[name].noVersion {
				s.t.Fatalf("%s is to found without etcd", name)
			}
		}
		for _, n := range s.store.spec.Nodes {
			if b := s.hosts[n.Hostname]; s.store.boot.Phase != cluster.PhaseNew || !b.bare() || b.reach() != nil {
				s.t.Fatalf("a founding in phase %q with %s bare: %v", s.store.boot.Phase, n.Hostname, b.bare())
			}
		}
	case InstallUnits:
		for _, u := range step.Units {
			if u.Founding != nil && u.Founding.New && s.store.boot.Phase != cluster.PhaseBootstrapping {
				s.t.Fatalf("a founding unit in phase %q: %s", s.store.boot.Phase, step)
			}
		}
	case StartMembers:
		for _, name := range step.Nodes {
			b := s.hosts[name]
			if s.isDrained(name) {
				s.t.Fatalf("%s is to start, and is drained", name)
			}
			if b.unit == nil || b.seals[b.unit.Member] && !b.hasData(b.unit.Member) {
				s.t.Fatalf("%s is to start without its data", name)
			}
			if b.full && b.proc == nil && b.seals[b.unit.Member] {
				s.t.Fatalf("%s is to start on a full disk", name)
			}
		}
	case StopMember:
		if why := s.rashStop(step); why != "" {
			s.t.Fatalf("%s, but %s", step, why)
		}
	case AddLearner:
		s.unfit(step)
	case PromoteLearner:
		if r, l := s.replicaOf(step.Member), s.lead(); r == nil || l == nil || r.index+writesWhile(5*time.Second) < l.index {
			s.t.Fatalf("a learner that has not caught up is to vote: %s", step)
		}
	case RemoveMember:
		if why := s.needless(step); why != "" {
			s.t.Fatalf("%s: %s", step, why)
		}
	case RestartMember, RollBackMember:
		if why := s.rashRestart(step); why != "" {
			s.t.Fatalf("%s, though %s", step, why)
		}
	case RetireMember:
		if _, member := s.raft.agreed.find(step.Member); member {
			s.t.Fatalf("a present member is to be retired: %s", step)
		}
	}
}

// unfit ends the test unless each of the step's nodes passed its last preflight
// not long ago.
func (s *sim) unfit(step Step) {
	for _, name := range step.Nodes {
		m, ok := s.eyes.measured[name]
		if !ok || m.Err != "" || m.Machine.Fsync.P99 > cluster.DefaultMaxFsync.Std() || s.now.Sub(m.At) >= preflightHolds {
			s.t.Fatalf("%s, but the preflight of %s says %+v", step, name, m)
		}
	}
}

// rash says why a change of the membership is not safe at this very instant,
// whether or not etcd itself would refuse it.
func (s *sim) rash(step Step) string {
	up := map[cluster.MemberID]bool{}
	for _, p := range s.connected() {
		up[p.unit.Member] = true
	}
	l := s.lead()
	voters, serving, others := l.cfg.voters(), 0, 0
	for _, v := range voters {
		if up[v.id] {
			serving++
		}
		if up[v.id] && v.id != step.Member {
			others++
		}
	}
	switch {
	case step.Kind == AddLearner && serving < len(voters):
		return "not every voter serves"
	case step.Kind == PromoteLearner && !up[step.Member]:
		return "the learner does not serve"
	case step.Kind == RemoveMember && l.cfg.votes(step.Member) && others < cluster.Quorum(len(voters)-1):
		return "the others are no quorum"
	case step.Kind == RemoveMember && l.cfg.votes(step.Member) && l.unit.Member == step.Member:
		return "it leads"
	case step.Kind == RemoveMember && step.NotServing && up[step.Member] && !s.hidden(step.Member):
		return "it serves again"
	}
	return ""
}

// hidden: CKE cannot reach the member.
func (s *sim) hidden(id cluster.MemberID) bool {
	return slices.ContainsFunc(s.boxes(), func(b *box) bool { return b.runs(id) && b.netAway })
}

// needless says why a voter should stay: it has its data and its node is wanted,
// and it is not one long dead whose seat another can take.
func (s *sim) needless(step Step) string {
	able, spares, fits := 0, 0, false
	for _, n := range s.store.spec.Nodes {
		if !n.ControlPlane {
			continue
		}
		i := slices.IndexFunc(s.raft.agreed, func(m peer) bool { return m.url == n.PeerURL() })
		switch {
		case i < 0 && s.hosts[n.Hostname].admit() == nil && !s.measuredSlow(n.Hostname):
			spares++
		case i >= 0 && !s.raft.agreed[i].learner:
			able++
			fits = fits || s.raft.agreed[i].id == step.Member
		}
	}
	silent, away := s.eyes.unhealthy[step.Member]
	if step.NotServing && spares > 0 && away && s.now.Sub(silent) >= s.store.spec.Etcd.ReplaceAfter.Std() {
		return ""
	}
	for _, b := range s.boxes() {
		if r := b.dirs[step.Member]; fits && r != nil && (r.mark || !b.seals[step.Member]) && able <= s.store.spec.WantedVoters() {
			return "its data is on " + string(b.node.Hostname) + " and it is wanted"
		}
	}
	return ""
}

// measuredSlow: as far as CKE knows. Its disk may have become another since.
func (s *sim) measuredSlow(n cluster.NodeName) bool {
	m, ok := s.eyes.measured[n]
	return ok && m.Machine.Fsync.P99 > cluster.DefaultMaxFsync.Std()
}

// removedUnawares: without a quorum nobody tells that the host's member was removed; it
// ends once it is started, whatever etcd it has.
func (s *sim) removedUnawares(b *box) bool {
	if b.unit == nil {
		return false
	}
	_, removed := s.raft.removed[b.unit.Member]
	return removed && !s.serves()
}

// try carries one step out on a clone of the world, whatever becomes of the
// others: it must work, unless the world outside forbids it.
func (s *sim) try(step Step) {
	c := s.clone()
	c.quiet = true
	err := (&hand{s: c, left: -1}).apply(step)
	if err != nil && !s.excused(step, err) {
		s.t.Fatalf("a step of a fresh plan fails: %s\n%v", step, err)
	}
}

func (s *sim) excused(step Step, err error) bool {
	switch {
	case errors.Is(err, errTransient), errors.Is(err, errNoWAL):
		return true
	case errors.Is(err, errNoLeader):
		return slices.ContainsFunc(s.boxes(), func(b *box) bool { return b.runs(s.raft.leader) && b.netAway })
	case step.Kind == RollBackMember && s.hosts[step.Nodes[0]].noVersion:
		return true // somebody took what it worked with from its host, which says so
	case errors.Is(err, errEnds):
		return slices.ContainsFunc(step.Nodes, func(n cluster.NodeName) bool {
			b := s.hosts[n]
			forgot := b.unit != nil && s.raft.ran[b.unit.Member] && b.dirs[b.unit.Member] == nil
			bad := b.unit != nil && !worksWith(*b.unit) || step.Kind == RestartMember && !worksWith(step.Restart.To)
			return bad || b.portBusy || b.isolated || forgot || s.removedUnawares(b)
		})
	}
	return false
}

// misplaced says what of the world is not as the spec wants it, or nothing.
func (s *sim) misplaced() string {
	if s.store.boot.Phase != cluster.PhaseBootstrapped {
		return "the cluster is not founded"
	}
	if len(s.store.leaving) > 0 {
		return "nodes are still leaving"
	}
	able := map[string]cluster.Node{}
	for _, n := range s.store.spec.Nodes {
		if n.ControlPlane {
			able[n.PeerURL()] = n
		}
	}
	if s.raft.room.noSpace || len(s.store.defrag) > 0 {
		return "the databases were not seen to"
	}
	if s.store.restart != nil {
		return "a restart is on record"
	}
	if s.store.reboot != nil {
		return "a reboot is on record"
	}
	if len(s.store.drains) > 0 {
		return "a drain is on record"
	}
	members := map[cluster.NodeName]cluster.MemberID{}
	for _, m := range s.raft.agreed {
		n, ok := able[m.url]
		if !ok || m.learner || m.name != string(n.Hostname) {
			return "member " + m.id.String() + " at " + m.url + " is no voter on a wanted node"
		}
		members[n.Hostname] = m.id
	}
	if len(members) != s.store.spec.WantedVoters() {
		return "the number of voters is not the wanted one"
	}
	for _, b := range s.boxes() {
		name := b.node.Hostname
		id, carries := members[name]
		switch {
		case carries && (!b.runs(id) || !b.seals[id] || !b.hasData(id) || !b.certs || b.certDue || b.unit == nil || b.unit.Founding != nil):
			return string(name) + " does not carry its member as it should"
		case carries && b.halfInstalled():
			return string(name) + " would start its member with another unit than is on record"
		case carries && b.proc.staleCA:
			return string(name) + " runs its member with other certificate authorities"
		case carries && !b.proc.unit.SameSettings(wantedUnit(s.store.spec, b.node, id)):
			return string(name) + " runs its member with other settings"
		case carries && len(b.dirs) != 1, !carries && !b.bare():
			return string(name) + " carries what is no member's"
		}
	}
	if why := s.tenantsMisplaced(); why != "" {
		return why
	}
	if !s.authIsRight() {
		return "users and roles are not right"
	}
	return ""
}

// describe logs the world in one line a host, for a failure.
func (s *sim) describe() {
	s.logf("agreed %+v, acked %d, leader %s, auth %+v", s.raft.agreed, s.raft.acked, s.raft.leader, s.raft.auth)
	for _, b := range s.boxes() {
		if b.bare() {
			continue
		}
		unit, proc := "none", "none"
		if b.unit != nil {
			unit = b.unit.Member.String()
		}
		if b.proc != nil {
			proc = b.proc.unit.Member.String()
		}
		s.logf("%s: unit %s, process %s, seals %v, data %v", b.node.Hostname, unit, proc, b.seals, slices.Sorted(maps.Keys(b.dirs)))
	}
}
