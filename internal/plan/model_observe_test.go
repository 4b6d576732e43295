package plan

import (
	"maps"
	"slices"
	"time"

	"cke/internal/cluster"
)

// eyes is the observer's memory: since when something is away, and which
// members were last known.
type eyes struct {
	unreachable map[cluster.NodeName]time.Time
	unhealthy   map[cluster.MemberID]time.Time
	known       map[string]bool // client URLs
	measured    map[cluster.NodeName]cluster.Measured
	withdrawn   map[cluster.MemberID]time.Time
	trail       cluster.Trail
	members     []cluster.Member
	setbacks    cluster.Setbacks
}

func newEyes() eyes {
	return eyes{map[cluster.NodeName]time.Time{}, map[cluster.MemberID]time.Time{}, map[string]bool{}, map[cluster.NodeName]cluster.Measured{}, map[cluster.MemberID]time.Time{}, nil, nil, nil}
}

func (e eyes) clone() eyes {
	return eyes{maps.Clone(e.unreachable), maps.Clone(e.unhealthy), maps.Clone(e.known), maps.Clone(e.measured), maps.Clone(e.withdrawn), slices.Clone(e.trail), slices.Clone(e.members), maps.Clone(e.setbacks)}
}

func since[K comparable](memory map[K]time.Time, key K, away bool, now time.Time) time.Time {
	if !away {
		delete(memory, key)
		return time.Time{}
	}
	if _, ok := memory[key]; !ok {
		memory[key] = now
	}
	return memory[key]
}

// nodes are those of the spec, then the leaving ones.
func (s *sim) nodes() []cluster.Node { return slices.Concat(s.store.spec.Nodes, s.store.leaving) }

// observe is what CKE can see; nothing in the state is shared with the world.
func (s *sim) observe() cluster.State {
	st := cluster.State{
		At: s.now, Bootstrap: s.store.boot, Nodes: map[cluster.NodeName]cluster.NodeState{},
		Users: slices.Clone(s.store.users), RemovedUsers: slices.Clone(s.store.removed), Leaving: slices.Clone(s.store.leaving),
		Releases: releases(), Snapshot: s.store.snapshot, Defrag: slices.Clone(s.store.defrag),
		Restart: s.store.restart, Drains: slices.Clone(s.store.drains), Reboot: s.store.reboot, Epoch: s.epoch,
	}
	st.Bootstrap.Founders = slices.Clone(st.Bootstrap.Founders)
	for _, n := range s.nodes() {
		ns := s.facts(s.hosts[n.Hostname])
		ns.UnreachableSince = since(s.eyes.unreachable, n.Hostname, !ns.Reachable(), s.now)
		if m, ok := s.eyes.measured[n.Hostname]; ok {
			m.Links = slices.Clone(m.Links)
			ns.Measured = &m
		}
		st.Nodes[n.Hostname] = ns
	}
	if st.Bootstrap.Phase != cluster.PhaseNew {
		st.Etcd = s.observeEtcd(st.Nodes)
	}
	st.Setbacks = maps.Clone(s.eyes.setbacks)
	s.observeKubernetes(&st)
	return st
}

// measure is the preflight of one host, against all that may carry a member. It
// only adds to what CKE remembers.
func (s *sim) measure(b *box) {
	m := measured(b.node, s.now)
	if err := b.reach(); err != nil {
		s.eyes.measured[b.node.Hostname] = cluster.Measured{At: s.now, Address: b.node.Address, Err: err.Error()}
		return
	}
	if b.slowDisk {
		m.Machine.Fsync.P99 = time.Second
	}
	for _, n := range s.nodes() {
		if n.Hostname == b.node.Hostname {
			continue
		}
		links := append(link(b.node, n, false), link(b.node, n, true)...)
		for i := range links {
			if s.hosts[n.Hostname].reach() != nil {
				links[i].Err, links[i].Unasked = "no answer", "its host does not answer"
			}
		}
		m.Links = append(m.Links, links...)
	}
	s.eyes.measured[b.node.Hostname] = m
}

func (s *sim) facts(b *box) cluster.NodeState {
	if err := b.reach(); err != nil {
		return cluster.NodeState{Err: err.Error()}
	}
	ns := cluster.NodeState{Arch: "amd64", Boot: b.boot(), CanReboot: b.node.User != ""}
	if b.fenced {
		ns.Fenced = errFenced.Error()
	}
	if !b.noVersion {
		ns.Versions = []string{olderVersion, cluster.DefaultVersion}
	}
	if b.portBusy && b.proc == nil {
		ns.BusyPorts = []int{cluster.ClientPort}
	}
	if !b.certs || b.certDue {
		ns.Certificates, ns.CertificatesFail, ns.CertificatesBar = []string{"server.crt is due"}, !b.certs, !b.certs
	}
	s.tenantFacts(b, &ns)
	ns.Disk = spaceFacts(b)
	if !b.unmounted {
		for _, id := range slices.Sorted(maps.Keys(b.dirs)) {
			ns.Data = append(ns.Data, cluster.DataDir{Member: id, WAL: true, Mark: b.dirs[id].mark})
		}
	}
	if b.unit == nil {
		return ns
	}
	sealed, known := b.seals[b.unit.Member]
	ns.Unit = &cluster.UnitState{Unit: copyUnit(*b.unit), Sealed: sealed, Running: b.runs(b.unit.Member), Unfinished: b.halfInstalled()}
	if b.last.Member == b.unit.Member && b.last.SameSettings(*b.unit) {
		ns.Unit.Restarts = b.again
	}
	if !ns.Unit.Running && b.ended == b.unit.Member {
		ns.Unit.Exit = "exit status 1"
		if b.roomless {
			ns.Unit.Log = "write: no space left on device"
		}
	}
	if ns.Unit.Running {
		ns.Unit.StaleCA, ns.RunsSince = b.proc.staleCA, b.proc.up
		u := copyUnit(b.proc.unit)
		ns.Unit.Started = &u
		if r := s.replicaOf(u.Member); r != nil && u.Founding != nil && !u.Founding.New && !b.isolated {
			if ns.Unit.Logged = r.index; len(s.raft.agreed.voters())%2 == 1 { // it need not be applied otherwise
				ns.Unit.Applied = r.index
			}
		}
	}
	if known && b.unmounted {
		ns.Unit.NotMounted = "/var/lib/cke"
	} else if sealed {
		ns.Unit.DataLost = !b.hasData(b.unit.Member)
	}
	return ns
}

func copyUnit(u cluster.Unit) cluster.Unit {
	if u.Founding != nil {
		f := *u.Founding
		f.Peers = maps.Clone(f.Peers)
		u.Founding = &f
	}
	return u
}

// observeEtcd asks the members whose process runs and those last known; only
// the latter when no host was asked, as for a guard.
func (s *sim) observeEtcd(nodes map[cluster.NodeName]cluster.NodeState) cluster.EtcdState {
	var e cluster.EtcdState
	answers := s.ask(nodes)
	l := s.lead()
	var list, stale config
	for _, b := range answers {
		e.Asked, e.ClusterID = true, clusterID
		learner := !b.proc.cfg.votes(b.proc.unit.Member)
		if !learner && stale == nil {
			stale = b.proc.cfg
		}
		if !learner && !b.isolated && l != nil {
			e.Quorum, list = true, l.cfg
		}
	}
	if !e.Quorum {
		list, e.Err = stale, "no member serves"
	}
	for _, p := range list {
		e.Members = append(e.Members, s.status(p, answers))
	}
	for i := range e.Members {
		m := &e.Members[i]
		m.UnhealthySince = since(s.eyes.unhealthy, m.ID, !m.Healthy, s.now)
	}
	s.observeSpace(&e)
	if before, ok := s.eyes.trail.Before(s.now); ok {
		e.Before = &before
	}
	if front, ok := e.Front(s.now); ok {
		s.eyes.trail = s.eyes.trail.With(front)
	}
	if e.Quorum {
		if s.raft.downgrade != (cluster.Minor{}) {
			e.Downgrade = s.raft.downgrade.String() + ".0"
		}
		e.Auth = cluster.Auth{Known: true, Enabled: s.raft.auth.Enabled, Users: map[string][]string{}, Roles: map[string][]cluster.Permission{}}
		for k, v := range s.raft.auth.Users {
			e.Auth.Users[k] = slices.Clone(v)
		}
		for k, v := range s.raft.auth.Roles {
			e.Auth.Roles[k] = slices.Clone(v)
		}
		s.eyes.setbacks = s.eyes.setbacks.After(s.eyes.members, e.Members, s.nodes(), s.store.spec.Etcd.ReplaceAfter.Std(), s.now)
		s.eyes.members = e.Members
		s.remember(e)
	}
	return e
}

func (s *sim) ask(nodes map[cluster.NodeName]cluster.NodeState) []*box {
	var answers []*box
	for _, n := range s.nodes() {
		ns, looked := nodes[n.Hostname]
		known := s.eyes.known[n.ClientURL()]
		runs := ns.Unit != nil && ns.Unit.Running
		silent := looked && !ns.Reachable() && (known || len(s.eyes.known) == 0 && n.ControlPlane)
		b := s.hosts[n.Hostname]
		if (runs || silent || !looked && known) && b.proc != nil && !b.netAway {
			answers = append(answers, b)
		}
	}
	return answers
}

func (s *sim) status(p peer, answers []*box) cluster.Member {
	m := cluster.Member{ID: p.id, Name: p.name, PeerURL: p.url, Learner: p.learner}
	for _, b := range answers {
		if b.proc.unit.Member != p.id {
			continue
		}
		m.Healthy = s.serves() && !b.isolated
		m.Leader = p.id == s.raft.leader
		m.Version, m.Storage = b.proc.unit.Version, s.raft.version.String()+".0"
		m.RaftIndex, m.RaftApplied, m.RaftTerm = b.proc.index, b.proc.index, s.raft.term
		return m
	}
	m.Err = "does not answer"
	return m
}

func (s *sim) remember(e cluster.EtcdState) {
	s.eyes.known = map[string]bool{}
	present := map[cluster.MemberID]bool{}
	for _, m := range e.Members {
		present[m.ID] = true
		for _, n := range s.nodes() {
			if n.PeerURL() == m.PeerURL {
				s.eyes.known[n.ClientURL()] = true
			}
		}
	}
	maps.DeleteFunc(s.eyes.unhealthy, func(id cluster.MemberID, _ time.Time) bool { return !present[id] })
}
