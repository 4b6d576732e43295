package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// client is how one cke reaches the members.
type client struct {
	c *CKE
}

const (
	askLeast   = 500 * time.Microsecond
	askMost    = 3 * time.Millisecond
	askTimeout = 2 * time.Second // internal/etcd's
)

// ask waits as long as questions to these members take. What answers there are
// come soon, and have grown old when those that do not come are given up.
func (e client) ask(ctx context.Context, what string, eps []etcd.Endpoint, timeout time.Duration, answer func()) error {
	w, rest := e.c.w, time.Duration(0)
	if err := e.c.pass(ctx, what, what, askLeast, askMost); err != nil {
		return err
	}
	w.mu.Lock()
	w.advance()
	for _, ep := range eps {
		if m := w.byClientURL(string(ep)); m == nil || m.away || m.afar || m.down || m.hung && m.proc != nil {
			rest = timeout
		}
	}
	answer()
	w.mu.Unlock()
	return e.c.wait(ctx, rest, what)
}

// Observe implements observe.Etcd.
func (e client) Observe(ctx context.Context, eps []etcd.Endpoint, nodes []cluster.Node) cluster.EtcdState {
	if len(eps) == 0 {
		return cluster.EtcdState{}
	}
	var s cluster.EtcdState
	var at time.Time
	if err := e.ask(ctx, "observe", eps, askTimeout, func() { s, at = e.c.w.seen(eps, nodes), time.Now() }); err != nil {
		return cluster.EtcdState{Err: err.Error()}
	}
	e.c.sees(ctx, at, s)
	return s
}

// seen is what these members say.
func (w *World) seen(eps []etcd.Endpoint, nodes []cluster.Node) cluster.EtcdState {
	var s cluster.EtcdState
	var stale config
	l := w.lead()
	answers := map[cluster.MemberID]*machine{}
	ids := map[cluster.ClusterID]bool{}
	for _, ep := range eps {
		m := w.byClientURL(string(ep))
		if m == nil || !m.answers() || w.raft.at.Before(m.proc.up) {
			s.Err = fmt.Sprintf("ask %s for its status: connection refused", ep)
			continue
		}
		answers[m.proc.unit.Member] = m
		s.Asked, s.ClusterID = true, clusterID(m.proc.token)
		ids[s.ClusterID] = true
		if stale == nil {
			stale = m.proc.cfg
		}
		if w.reads(m, l) {
			s.Quorum = true
		}
	}
	if len(ids) > 1 {
		return cluster.EtcdState{Asked: true, Mixed: "members of different clusters answer", Err: "members of different clusters answer"}
	}
	list := stale
	if s.Quorum {
		list, s.Auth = l.proc.cfg, w.knownAuth()
		w.seenSpace(&s)
		w.seenCorruption(&s)
		if to := w.raft.line.downgrade; to != (cluster.Minor{}) {
			s.Downgrade = to.String() + ".0"
		}
	} else if s.Asked && s.Err == "" {
		s.Err = "no leader known"
	}
	for _, p := range list {
		s.Members = append(s.Members, w.status(p, answers, l, nodes))
	}
	return s
}

// reads: the member is a voter that serves a linearizable read.
func (w *World) reads(m, l *machine) bool {
	return l != nil && m.connected(w.raft.at) && m.proc.token == l.proc.token && l.proc.cfg.votes(m.proc.unit.Member) && m.proc.cfg.votes(m.proc.unit.Member)
}

func (w *World) status(p peer, answers map[cluster.MemberID]*machine, l *machine, nodes []cluster.Node) cluster.Member {
	s := cluster.Member{ID: p.id, Name: p.name, PeerURL: p.url, Learner: p.learner}
	if p.name != "" {
		if m := w.byPeerURL(p.url); m != nil {
			s.ClientURL = m.clientURL
		}
	}
	m := answers[p.id]
	if m == nil {
		s.Err = "its process does not run"
		if _, known := etcd.Of(nodes, p.url); !known {
			s.Err = "not asked: its node is not known"
		}
		return s
	}
	s.Healthy = l != nil && m.connected(w.raft.at) && m.proc.token == l.proc.token
	if !s.Healthy {
		s.Err = "no leader known"
	}
	s.Leader = s.Healthy && m == l
	if s.Version = m.proc.unit.Version; m.proc.storage != (cluster.Minor{}) {
		s.Storage = m.proc.storage.String() + ".0"
	}
	s.RaftIndex, s.RaftApplied, s.RaftTerm = m.proc.index, m.proc.index, w.raft.term
	s.DBSize, s.DBSizeInUse, s.Quota = m.proc.size, w.raft.room.live+w.raft.room.history, int64(m.proc.unit.Quota)
	return s
}

func (w *World) knownAuth() cluster.Auth {
	a := cluster.Auth{Known: true, Enabled: w.raft.auth.Enabled}
	a.Users, a.Roles = maps.Clone(w.raft.auth.Users), maps.Clone(w.raft.auth.Roles)
	return a
}

// AskAnew implements observe.Etcd.
func (client) AskAnew([]etcd.Endpoint) {}

// Keep implements observe.Etcd.
func (client) Keep([]string) {}

// Ping implements reconcile.Pinger.
func (e client) Ping(ctx context.Context, eps []etcd.Endpoint) map[etcd.Endpoint]etcd.Pulse {
	felt := make(map[etcd.Endpoint]etcd.Pulse, len(eps))
	for _, ep := range eps {
		felt[ep] = etcd.Silent
	}
	if len(eps) == 0 {
		return felt
	}
	w := e.c.w
	err := e.ask(ctx, "ping", eps, time.Second, func() {
		l := w.lead()
		for _, ep := range eps {
			m := w.byClientURL(string(ep))
			switch {
			case m == nil || !m.answers() || w.raft.at.Before(m.proc.up):
			case l != nil && m.connected(w.raft.at):
				felt[ep] = etcd.Serving
			default:
				felt[ep] = etcd.Leaderless
			}
		}
	})
	if err != nil {
		clear(felt)
	}
	return felt
}

// change asks one member for a change. It may take effect though its answer is
// lost.
func (e client) change(ctx context.Context, what string, via etcd.Endpoint, do func() error) error {
	c, w := e.c, e.c.w
	w.mu.Lock()
	ctx, cancel := context.WithDeadline(ctx, c.until())
	w.mu.Unlock()
	defer cancel()
	if err := c.enter(ctx, what); err != nil {
		return err
	}
	w.mu.Lock()
	m := w.byClientURL(string(via))
	takes := w.between(what, askLeast, askMost) + w.lags
	sent := time.Now()
	w.mu.Unlock()
	// What was sent arrives, whatever becomes of who sent it. That one learns of its
	// patience's end meanwhile.
	arrives := time.NewTimer(takes)
	<-arrives.C
	c.turn(ctx, what)
	err, lost := context.DeadlineExceeded, false
	w.mu.Lock()
	w.advance()
	switch {
	case w.closed, c.dead && w.chance(what+" cut off").IntN(2) == 0:
		err = errKilled
	case ctx.Err() != nil && !c.dead: // its end has gone with it
	case m == nil || m.proc == nil || w.raft.at.Before(m.proc.up):
		err = errNoTarget
	case !m.answers():
	case !w.reads(m, w.lead()):
		err = rpctypes.ErrNoLeader
	default:
		c.sent = sent
		err = c.effect(what, do)
		lost = err == nil && w.chance(what+" lost").Uint64N(100) < w.loses
	}
	w.mu.Unlock()
	if (errors.Is(err, context.DeadlineExceeded) || lost) && !c.gone() {
		if err = c.sleep(ctx, 7*time.Second, what); err == nil {
			err = context.DeadlineExceeded
		}
	}
	if thaw := c.thaw(ctx, what); thaw != nil {
		return thaw
	}
	return wrap(what+" through "+string(via), err)
}

// membership is one of the changes of which there is never more than one under
// way.
func (e client) membership(ctx context.Context, what string, via etcd.Endpoint, do func() error) error {
	w := e.c.w
	w.mu.Lock()
	if e.c.changing++; e.c.changing > 1 {
		w.violate("oneMembershipChangeAtATime", "%s is begun while another change of the membership is under way", what)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		e.c.changing--
		w.mu.Unlock()
	}()
	return e.change(ctx, what, via, do)
}

// AddLearner implements execute.Etcd.
func (e client) AddLearner(ctx context.Context, via etcd.Endpoint, peerURL string) (id cluster.MemberID, err error) {
	w := e.c.w
	err = e.membership(ctx, "add learner "+peerURL, via, func() (err error) {
		w.judgeAdd(peerURL)
		w.judgeAddStep(ctx, e.c, peerURL)
		id, err = w.addLearner(peerURL)
		return err
	})
	return id, err
}

// Promote implements execute.Etcd.
func (e client) Promote(ctx context.Context, via etcd.Endpoint, id cluster.MemberID) error {
	w := e.c.w
	return e.membership(ctx, "promote "+id.String(), via, func() error {
		w.judgePromote(id)
		w.judgePromoteStep(ctx, e.c, id)
		return w.promote(id)
	})
}

// Remove implements execute.Etcd.
func (e client) Remove(ctx context.Context, via etcd.Endpoint, id cluster.MemberID) error {
	w := e.c.w
	return e.membership(ctx, "remove "+id.String(), via, func() error {
		w.judgeRemove(ctx, e.c, id)
		w.judgeRemoveStep(ctx, e.c, id)
		w.judgeDataLeft(e.c, id)
		return w.remove(id)
	})
}

// MoveLeader implements execute.Etcd.
func (e client) MoveLeader(ctx context.Context, via etcd.Endpoint, to cluster.MemberID) error {
	w := e.c.w
	return e.membership(ctx, "move leader to "+to.String(), via, func() error {
		if l := w.lead(); l.clientURL != string(via) {
			return rpctypes.ErrNotLeader
		}
		w.judgeMoveStep(ctx, e.c, to)
		return w.moveLeader(to)
	})
}

// Auth implements execute.Etcd.
func (e client) Auth(ctx context.Context, ep etcd.Endpoint) (cluster.Auth, error) {
	var a cluster.Auth
	w := e.c.w
	err := e.ask(ctx, "auth", []etcd.Endpoint{ep}, askTimeout, func() {
		if w.serving() {
			a = w.knownAuth()
		}
	})
	if err == nil && !a.Known {
		err = rpctypes.ErrNoLeader
	}
	return a, err
}

func (e client) auth(ctx context.Context, what string, via etcd.Endpoint, do func(a *cluster.Auth) error) error {
	w := e.c.w
	return e.change(ctx, what, via, func() error {
		err := w.changeAuth(do)
		w.judgeAuth(what, err)
		return err
	})
}

// DeleteUser implements execute.Etcd.
func (e client) DeleteUser(ctx context.Context, via etcd.Endpoint, user string) error {
	return e.auth(ctx, "delete user "+user, via, func(a *cluster.Auth) error {
		if _, ok := a.Users[user]; !ok || a.Enabled && user == cluster.RootUser {
			return rpctypes.ErrUserNotFound
		}
		delete(a.Users, user)
		return nil
	})
}

// DeleteRole implements execute.Etcd.
func (e client) DeleteRole(ctx context.Context, via etcd.Endpoint, role string) error {
	return e.auth(ctx, "delete role "+role, via, func(a *cluster.Auth) error {
		if _, ok := a.Roles[role]; !ok || a.Enabled && role == cluster.RootUser {
			return rpctypes.ErrRoleNotFound
		}
		delete(a.Roles, role)
		for u, roles := range a.Users {
			a.Users[u] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role })
		}
		return nil
	})
}
