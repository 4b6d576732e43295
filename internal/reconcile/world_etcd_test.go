package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// fakeEtcd is the members: one serves while its process runs.
type fakeEtcd struct{ w *world }

func (e fakeEtcd) node(peerURL string) (cluster.Node, bool) {
	for _, n := range e.w.wanted.Nodes() {
		if n.PeerURL() == peerURL {
			return n, true
		}
	}
	return cluster.Node{}, false
}

func (e fakeEtcd) serves(m cluster.Member) bool { return e.answers(m) && !e.w.electing }

func (e fakeEtcd) answers(m cluster.Member) bool {
	n, ok := e.node(m.PeerURL)
	if !ok {
		return false
	}
	u := e.w.hosts[n.Hostname].facts.Unit
	return u != nil && u.Running && u.Unit.Member == m.ID
}

func (e fakeEtcd) Observe(_ context.Context, eps []etcd.Endpoint, _ []cluster.Node) cluster.EtcdState {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	s := cluster.EtcdState{Asked: len(eps) > 0, ClusterID: 7}
	voters, serving, leads := 0, 0, false
	if !slices.ContainsFunc(e.w.members, func(m cluster.Member) bool { return m.ID == e.w.leader && e.serves(m) }) {
		e.w.leader = 0
	}
	for i := range e.w.members {
		m := &e.w.members[i]
		up := e.serves(*m)
		if up && m.Name == "" {
			n, _ := e.node(m.PeerURL)
			m.Name = string(n.Hostname)
		}
		seen := *m
		seen.RaftIndex, seen.RaftApplied, seen.RaftTerm = 5, 5, 1
		if n, ok := e.node(m.PeerURL); ok && slices.Contains(eps, etcd.Endpoint(n.ClientURL())) {
			seen.Healthy = up
		}
		if !m.Learner {
			voters++
			if up {
				serving++
				seen.Leader = !leads && (e.w.leader == 0 || e.w.leader == m.ID)
				leads = leads || seen.Leader
			}
		}
		s.Members = append(s.Members, seen)
	}
	if s.Quorum = s.Asked && serving >= cluster.Quorum(voters); !s.Quorum {
		s.Members = nil
	}
	s.Auth = cluster.Auth{
		Known: s.Quorum, Enabled: true,
		Users: map[string][]string{"root": {"root"}, "kube-apiserver": {"kube-apiserver"}},
		Roles: map[string][]cluster.Permission{"root": {}, "kube-apiserver": {{Key: "/registry/", RangeEnd: "/registry0", Type: "READWRITE"}}},
	}
	return s
}

func (e fakeEtcd) Ping(_ context.Context, eps []etcd.Endpoint) map[etcd.Endpoint]etcd.Pulse {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.pings++
	felt := map[etcd.Endpoint]etcd.Pulse{}
	for _, m := range e.w.members {
		n, ok := e.node(m.PeerURL)
		if ep := etcd.Endpoint(n.ClientURL()); ok && slices.Contains(eps, ep) {
			felt[ep] = etcd.Silent
			switch {
			case e.serves(m):
				felt[ep] = etcd.Serving
			case e.answers(m):
				felt[ep] = etcd.Leaderless
			}
		}
	}
	return felt
}

func (e fakeEtcd) Keep([]string) {}

func (e fakeEtcd) AskAnew([]etcd.Endpoint) {}

func (e fakeEtcd) change(do func()) error {
	e.w.do(func() {
		e.w.under++
		e.w.most = max(e.w.most, e.w.under)
	})
	pass(e.w.changing)
	e.w.do(func() {
		e.w.under--
		do()
	})
	return nil
}

func (e fakeEtcd) AddLearner(_ context.Context, _ etcd.Endpoint, peerURL string) (id cluster.MemberID, err error) {
	if time.Now().Before(e.w.refuses) {
		return 0, fmt.Errorf("add learner: %w", context.DeadlineExceeded) // as transient as etcd's own
	}
	return id, e.change(func() {
		e.w.nextID++
		id = e.w.nextID
		e.w.members = append(e.w.members, cluster.Member{ID: id, PeerURL: peerURL, Learner: true})
	})
}

func (e fakeEtcd) Promote(_ context.Context, _ etcd.Endpoint, id cluster.MemberID) error {
	return e.change(func() {
		for i := range e.w.members {
			if e.w.members[i].ID == id {
				e.w.members[i].Learner = false
			}
		}
	})
}

func (e fakeEtcd) Remove(_ context.Context, _ etcd.Endpoint, id cluster.MemberID) error {
	return e.change(func() {
		e.w.members = slices.DeleteFunc(e.w.members, func(m cluster.Member) bool { return m.ID == id })
	})
}

func (e fakeEtcd) MoveLeader(_ context.Context, _ etcd.Endpoint, to cluster.MemberID) error {
	return e.change(func() { e.w.leader = to })
}

func (e fakeEtcd) Auth(context.Context, etcd.Endpoint) (cluster.Auth, error) {
	return cluster.Auth{}, nil
}

func (e fakeEtcd) DeleteUser(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) DeleteRole(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) AddRole(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) Grant(context.Context, etcd.Endpoint, string, cluster.Permission) error {
	return nil
}

func (e fakeEtcd) Revoke(context.Context, etcd.Endpoint, string, cluster.Permission) error {
	return nil
}

func (e fakeEtcd) AddUser(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) GrantRole(context.Context, etcd.Endpoint, string, string) error { return nil }

func (e fakeEtcd) RevokeRole(context.Context, etcd.Endpoint, string, string) error { return nil }

func (e fakeEtcd) EnableAuth(context.Context, etcd.Endpoint) error { return nil }

func (e fakeEtcd) Snapshot(context.Context, etcd.Endpoint) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("no test here asks for a snapshot")
}

func (e fakeEtcd) ValidateDowngrade(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) EnableDowngrade(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) CancelDowngrade(context.Context, etcd.Endpoint) error { return nil }
