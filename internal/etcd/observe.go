package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// askTimeout bounds each question to one member. A member that needs longer is
// not serving in the sense of anyone's request timeout.
const askTimeout = 2 * time.Second

// betweenLeaders is longer than leadership is on its way when it is handed over, and
// well under the second in which members find out that their leader is gone.
const betweenLeaders = 100 * time.Millisecond

// answer is what one member said of itself.
type answer struct {
	endpoint  Endpoint
	status    *clientv3.StatusResponse
	readErr   error // of a linearizable read; nil for a learner that answered
	statusErr error
}

func (a answer) healthy() bool {
	return a.statusErr == nil && a.readErr == nil && a.status.Leader != 0
}

// Observe asks every endpoint for its status and a linearizable read, all in
// parallel, and one healthy member for the membership, the alarms and the users;
// at the same time, if it is the one that was asked the last time. nodes maps
// peer URLs to client URLs. It never fails: what could not be learnt is said in
// the state.
func (c *Client) Observe(ctx context.Context, endpoints []Endpoint, nodes []cluster.Node) cluster.EtcdState {
	var e cluster.EtcdState
	if len(endpoints) == 0 {
		return e
	}
	early := c.askEarly(ctx, endpoints)
	defer early.drop()
	answers := c.askAll(ctx, endpoints)
	if e.Mixed = mixed(answers); e.Mixed == "" {
		e.Mixed = c.split(ctx, answers)
	}
	if e.Mixed != "" {
		e.Asked, e.Err = true, e.Mixed
		return e
	}
	via, lastErr := choose(&e, answers)
	if lastErr != nil {
		e.Err = lastErr.Error()
	}
	c.askFirst(via)
	if via != "" {
		c.shared(ctx, via, early, &e)
		c.alarms(ctx, via, answers, &e)
	}
	if !e.Quorum {
		c.remembered(ctx, &e, answers)
	}
	answers = append(answers, c.askStrangers(ctx, e.Members, nodes)...)
	for i := range e.Members {
		fill(&e.Members[i], nodes, answers)
		e.Members[i].Alarms = alarmsOf(e.Members[i].ID, e.Alarms)
	}
	return e
}

// mixed names the members that answer for different clusters; empty when all
// belong to one.
func mixed(answers []answer) string {
	ids := map[uint64]bool{}
	var said []string
	for _, a := range answers {
		if a.statusErr == nil {
			id := a.status.Header.ClusterId
			ids[id] = true
			said = append(said, fmt.Sprintf("%s is of cluster %s", a.endpoint, cluster.ClusterID(id)))
		}
	}
	if len(ids) < 2 {
		return ""
	}
	return "members of different clusters answer: " + strings.Join(said, ", ")
}

// choose picks the voter to ask for what all share: the leader where possible,
// one hop fewer.
func choose(e *cluster.EtcdState, answers []answer) (via Endpoint, lastErr error) {
	for _, a := range answers {
		if a.statusErr != nil {
			lastErr = a.statusErr
			continue
		}
		e.Asked, e.ClusterID = true, cluster.ClusterID(a.status.Header.ClusterId)
		switch {
		case a.healthy() && !a.status.IsLearner:
			if via == "" || a.status.Leader == a.status.Header.MemberId {
				via, e.Downgrade = a.endpoint, downgrade(a.status)
			}
		case a.readErr != nil:
			lastErr = a.readErr
		}
	}
	return via, lastErr
}

// downgrade is what the members prepare to go down to, or nothing.
func downgrade(st *clientv3.StatusResponse) string {
	if st.DowngradeInfo == nil || !st.DowngradeInfo.Enabled {
		return ""
	}
	return st.DowngradeInfo.TargetVersion
}

// askStrangers asks the members on no known node, where they themselves say
// they are: one that serves must not be taken for dead.
func (c *Client) askStrangers(ctx context.Context, members []cluster.Member, nodes []cluster.Node) []answer {
	var eps []Endpoint
	for _, m := range members {
		if _, known := Of(nodes, m.PeerURL); !known && m.ClientURL != "" {
			eps = append(eps, Endpoint(m.ClientURL))
		}
	}
	return c.askAll(ctx, eps)
}

// ask asks a member, and once more if it knew no leader just then: between two
// leaders there is none for some milliseconds, in which nobody is unhealthy.
func (c *Client) ask(ctx context.Context, ep Endpoint) answer {
	a := c.askOnce(ctx, ep)
	if a.statusErr != nil || a.status.Leader != 0 && !errors.Is(a.readErr, rpctypes.ErrLeaderChanged) {
		return a
	}
	again := time.NewTimer(betweenLeaders)
	defer again.Stop()
	select {
	case <-ctx.Done():
		return a
	case <-again.C:
		return c.askOnce(ctx, ep)
	}
}

func (c *Client) askOnce(ctx context.Context, ep Endpoint) answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a := answer{endpoint: ep}
	conn, err := c.conn(string(ep))
	if err != nil {
		a.statusErr = err
		return a
	}
	// Both at once: what a read says counts only beside a status.
	reading, stop := context.WithCancel(ctx)
	read := make(chan error, 1)
	go func() {
		_, err := conn.Get(reading, "\x00cke", clientv3.WithCountOnly())
		read <- err
	}()
	a.status, a.statusErr = status(ctx, conn, ep)
	switch {
	case a.statusErr != nil:
		a.statusErr = fmt.Errorf("ask %s for its status: %w", ep, a.statusErr)
		stop()
	case a.status.IsLearner || a.status.Leader == 0:
		stop() // a learner refuses reads, and without a leader a read only waits
	}
	err = <-read
	if stop(); err != nil && a.statusErr == nil && !a.status.IsLearner && a.status.Leader != 0 {
		a.readErr = fmt.Errorf("read through %s: %w", ep, err)
	}
	return a
}

func (c *Client) memberList(ctx context.Context, ep Endpoint, opts ...clientv3.OpOption) ([]cluster.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := c.conn(string(ep))
	if err != nil {
		return nil, err
	}
	resp, err := conn.MemberList(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("list members through %s: %w", ep, err)
	}
	var list []cluster.Member
	for _, m := range resp.Members {
		cm := cluster.Member{ID: cluster.MemberID(m.ID), Name: m.Name, Learner: m.IsLearner}
		if len(m.PeerURLs) > 0 {
			cm.PeerURL = m.PeerURLs[0]
		}
		if len(m.ClientURLs) > 0 {
			cm.ClientURL = m.ClientURLs[0]
		}
		list = append(list, cm)
	}
	return list, nil
}

// fill joins a member of the list with what it said of itself.
func fill(m *cluster.Member, nodes []cluster.Node, answers []answer) {
	i := slices.IndexFunc(answers, func(a answer) bool {
		return a.statusErr == nil && cluster.MemberID(a.status.Header.MemberId) == m.ID
	})
	if i < 0 {
		m.Err = "not asked: its node is not known"
		if ep, known := Of(nodes, m.PeerURL); known {
			m.Err = unanswered(ep, answers)
		} else if m.ClientURL != "" {
			m.Err = unanswered(Endpoint(m.ClientURL), answers)
		}
		return
	}
	a := answers[i]
	st := a.status
	m.Healthy = a.healthy()
	m.Leader = st.Leader == st.Header.MemberId && !outlived(a, answers)
	m.Version, m.RaftIndex, m.RaftApplied, m.RaftTerm = st.Version, st.RaftIndex, st.RaftAppliedIndex, st.RaftTerm
	m.Storage = st.StorageVersion
	m.DBSize, m.DBSizeInUse = st.DbSize, st.DbSizeInUse
	m.Quota = st.DbSizeQuota
	switch {
	case a.readErr != nil:
		m.Err = a.readErr.Error()
	case st.Leader == 0:
		m.Err = "no leader known"
	}
}

// outlived: others serve in a later term than a member that does not. One whose disk
// hangs goes on saying that it leads, long after another was elected.
func outlived(a answer, answers []answer) bool {
	return !a.healthy() && slices.ContainsFunc(answers, func(o answer) bool {
		return o.healthy() && !o.status.IsLearner && o.status.RaftTerm > a.status.RaftTerm
	})
}

func unanswered(ep Endpoint, answers []answer) string {
	for _, a := range answers {
		if a.endpoint != ep {
			continue
		}
		if a.statusErr != nil {
			return a.statusErr.Error()
		}
		return fmt.Sprintf("another member (%s) answers at %s", cluster.MemberID(a.status.Header.MemberId), ep)
	}
	return "its process does not run"
}

// IsTransient says that etcd refused for now and asks to come back: it changes
// nothing about what is wanted.
func IsTransient(err error) bool {
	for _, t := range []error{
		rpctypes.ErrUnhealthy, rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrNoLeader,
		rpctypes.ErrLeaderChanged, rpctypes.ErrTooManyRequests,
		rpctypes.ErrNotLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	return errors.Is(err, context.DeadlineExceeded)
}
