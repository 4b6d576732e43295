package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"cke/internal/cluster"
)

// What etcd does when it is asked to change its membership: its own checks, as
// of 3.7 (server/etcdserver/server.go), and the entry they let through.

// enter is a first start: a founder begins with the founding itself as its log,
// a joining member compares its initial cluster with that of a peer. The second
// value says why it ends instead.
func (w *World) enter(m *machine, u cluster.Unit) (*replica, string) {
	r, why := w.entering(m, u)
	switch {
	case why != "":
		return nil, why
	case w.raft.ran[u.Member] && w.raft.agreed.votes(u.Member):
		w.violate("noStartWithoutItsData", "voter %s is started again on %s without its data", u.Member, m.name())
		fallthrough
	case w.raft.ran[u.Member]:
		return nil, "tocommit is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?"
	}
	w.raft.ran[u.Member] = true
	r.storage = w.raft.line.version
	return r, ""
}

func (w *World) entering(m *machine, u cluster.Unit) (*replica, string) {
	f := u.Founding
	if f == nil {
		w.violate("noStartWithoutItsData", "member %s is started on %s on nothing, with a unit that founds nothing", u.Member, m.name())
		return nil, "no data"
	}
	if f.New {
		return w.foundingReplica(m, u)
	}
	if m.isolated || m.cut() || m.mistimed() {
		return nil, "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
	}
	var best *process
	for _, o := range w.members() { // a follower lags for milliseconds only
		if o.proc.token == f.Token && (best == nil || o.proc.index > best.index) {
			best = o.proc
		}
	}
	if best == nil {
		return nil, "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
	}
	if len(best.cfg) != len(f.Peers) {
		return nil, "error validating peerURLs: member count is unequal"
	}
	for _, url := range f.Peers {
		if !best.cfg.hasURL(url) {
			return nil, "error validating peerURLs: unmatched member while checking PeerURLs"
		}
	}
	if p, ok := best.cfg.find(u.Member); !ok || p.url != m.peerURL {
		return nil, "error validating peerURLs: unmatched member while checking PeerURLs"
	}
	r := &replica{cfg: best.cfg, token: f.Token, bad: best.bad}
	if l := w.lead(); l != nil {
		r.bad = l.proc.bad // it is the leader who sends it all
	}
	return r, ""
}

func (w *World) foundingReplica(m *machine, u cluster.Unit) (*replica, string) {
	var cfg config
	for name, url := range u.Founding.Peers {
		cfg = append(cfg, peer{id: cluster.BootstrapMemberID(u.Founding.Token, url), name: string(name), url: url})
	}
	slices.SortFunc(cfg, func(a, b peer) int { return compare(a.id, b.id) })
	switch {
	case w.raft.token == "":
		w.raft.token, w.raft.acked, w.raft.agreed = u.Founding.Token, uint64(len(cfg)), cfg
	case w.raft.token != u.Founding.Token:
		w.violate("foundedOnce", "%s is about to found a second cluster", m.name())
	case w.shelf.boot.Phase == cluster.PhaseBootstrapped:
		w.violate("foundedOnce", "%s founds the cluster that stands already", m.name())
	}
	return &replica{index: uint64(len(cfg)), cfg: cfg, token: u.Founding.Token}, ""
}

func compare[T ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// seasoned is how many voters were connected for the health interval, the leader
// itself always (etcdserver.numConnectedSince). One that fell silent counts until
// its peers notice.
func (w *World) seasoned(l *machine) int {
	n, now := 0, w.raft.at
	for _, p := range l.proc.cfg.voters() {
		m := w.byPeerURL(p.url)
		switch {
		case m == nil:
		case m == l, m.connected(now) && m.proc.unit.Member == p.id && now.Sub(m.proc.met) > healthInterval, m.lingers(now):
			n++
		}
	}
	return n
}

// lingers: its peers have not noticed yet that it is gone.
func (m *machine) lingers(now time.Time) bool { return !m.gone.IsZero() && now.Sub(m.gone) < noticed }

// clogs: its leader is stuck in a write to it, which fills the send buffer some time after
// it fell silent, sooner or later, and is given up after two timeouts (rafthttp).
func (m *machine) clogs(now time.Time) bool {
	full := m.clogged()
	return !m.gone.IsZero() && !now.Before(full) && now.Sub(full) < givenUp
}

func (m *machine) clogged() time.Time {
	after := [...]time.Duration{time.Second, 8 * time.Second, 14 * time.Second, 25 * time.Second}
	return m.gone.Add(after[m.gone.UnixMilli()%int64(len(after))])
}

// addLearner is MemberAddAsLearner under the strict reconfiguration check.
func (w *World) addLearner(url string) (cluster.MemberID, error) {
	l := w.lead()
	if w.seasoned(l) < len(l.proc.cfg.voters()) {
		return 0, rpctypes.ErrUnhealthy
	}
	for _, p := range l.proc.cfg {
		if p.learner {
			return 0, rpctypes.ErrTooManyLearners
		}
		if p.url == url {
			return 0, rpctypes.ErrPeerURLExist
		}
	}
	id := w.raft.lastID + 1
	if !w.propose(1, l.proc.cfg.with(peer{id: id, url: url, learner: true})) {
		return 0, context.DeadlineExceeded
	}
	w.raft.lastID = id
	return id, nil
}

// promote asks the leader how far the learner is, as etcd does.
func (w *World) promote(id cluster.MemberID) error {
	l := w.lead()
	p, ok := l.proc.cfg.find(id)
	if !ok {
		return rpctypes.ErrMemberNotFound
	}
	if !p.learner {
		return rpctypes.ErrMemberNotLearner
	}
	m := w.byPeerURL(p.url)
	if m == nil || !m.connected(w.raft.at) || m.proc.unit.Member != id || float64(m.proc.index) < 0.9*float64(l.proc.index) {
		return rpctypes.ErrMemberLearnerNotReady
	}
	if started(l.proc.cfg)+1 < cluster.Quorum(len(l.proc.cfg.voters())+1) {
		return rpctypes.ErrMemberNotEnoughStarted
	}
	p.learner = false
	if !w.propose(1, l.proc.cfg.with(p)) {
		return context.DeadlineExceeded
	}
	return nil
}

func started(c config) int {
	n := 0
	for _, v := range c.voters() {
		if v.name != "" {
			n++
		}
	}
	return n
}

func (w *World) remove(id cluster.MemberID) error {
	l := w.lead()
	p, ok := l.proc.cfg.find(id)
	if !ok {
		return rpctypes.ErrMemberNotFound
	}
	if !p.learner {
		voters := len(l.proc.cfg.voters())
		if started(l.proc.cfg.without(id)) < cluster.Quorum(voters-1) {
			return rpctypes.ErrMemberNotEnoughStarted
		}
		m := w.byPeerURL(p.url)
		active := m != nil && (m.connected(w.raft.at) && m.proc.unit.Member == id || m.lingers(w.raft.at))
		if active && w.seasoned(l) <= 1+(voters-1)/2 {
			return rpctypes.ErrUnhealthy
		}
	}
	at := l.proc.index + 1
	if !w.propose(1, l.proc.cfg.without(id)) {
		return context.DeadlineExceeded
	}
	w.raft.removed[id] = at
	return nil
}

func (w *World) moveLeader(to cluster.MemberID) error {
	l := w.lead()
	if !l.proc.cfg.votes(to) {
		return rpctypes.ErrBadLeaderTransferee
	}
	for _, m := range w.members() {
		if p := m.proc; p.unit.Member == to && p.token == l.proc.token {
			p.index, p.cfg = l.proc.index, l.proc.cfg
			if w.raft.leader != to {
				w.raft.elected(p)
				w.logf("etcd: leadership moves to %s", to)
			}
			return nil
		}
	}
	return rpctypes.ErrTimeout
}

// changeAuth makes one change to etcd's users and roles, and refuses where etcd
// does (server/auth/store.go).
func (w *World) changeAuth(do func(a *cluster.Auth) error) error {
	if !w.propose(1, w.lead().proc.cfg) {
		return context.DeadlineExceeded
	}
	return do(&w.raft.auth)
}

func clusterID(token string) cluster.ClusterID {
	return cluster.ClusterID(cluster.BootstrapMemberID("cluster " + token))
}

var errNoTarget = errors.New("no such member listens")

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
