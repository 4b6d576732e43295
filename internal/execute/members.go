package execute

import (
	"context"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/plan"
)

// stopGrace is how long a member that has left gets between SIGTERM and
// SIGKILL: a patient stop lingers while watches are open, and every client
// pinned to it fails all that time.
const stopGrace = time.Second

// stopFirstTimeout bounds a stop that a removal could do without: a host that does not
// answer for so long counts as away, and then it does.
const stopFirstTimeout = 10 * time.Second

// calmBeforeMove is how long nothing else is done before leadership moves. etcd drops
// what is written in the milliseconds without a leader, and these are more while the
// members are busy with what was done right before: one started, clients came back.
const calmBeforeMove = 400 * time.Millisecond

// leader returns what the members say and the leader's client URL, where a
// mutation takes one hop fewer; a leader only its peers can reach is replaced by
// any serving voter, which passes the mutation on.
func (t target) leader(ctx context.Context) (cluster.EtcdState, etcd.Endpoint, error) {
	e := t.members(ctx)
	var via etcd.Endpoint
	for _, m := range e.HealthyVoters() {
		if ep, ok := etcd.Of(t.w.Nodes(), m.PeerURL); ok && (via == "" || m.Leader) {
			via = ep
		}
	}
	if via == "" {
		return e, "", fmt.Errorf("find a serving voter: %w: %s", etcd.ErrNoMember, e.Err)
	}
	return e, via, nil
}

// membership is the fresh membership, linearizable or an error.
func (t target) membership(ctx context.Context) (cluster.EtcdState, error) {
	e := t.members(ctx)
	if !e.Quorum {
		return e, fmt.Errorf("read the membership: no quorum: %s", e.Err)
	}
	return e, nil
}

// addLearner adds the node's member as a learner. Its id, and so its data
// directory, comes from etcd; a crash right after leaves a learner that the next
// plan finds by its peer URL and goes on with.
type addLearner struct{ target }

func (a addLearner) Done(ctx context.Context) (bool, error) {
	n, err := a.node(a.step.Nodes[0])
	if err != nil {
		return false, err
	}
	// A learner that cannot be started bars every other, so its host is asked
	// again; before the members, for a slow host must not age their answer.
	ns, err := a.observed(ctx, n.Hostname)
	if err != nil {
		return false, err
	}
	if ns.Fenced != "" || ns.Unit != nil || len(ns.Data) > 0 {
		return false, fmt.Errorf("%s can carry no new member now", n.Hostname)
	}
	e, err := a.membership(ctx)
	_, there := e.MemberAt(n)
	return there, err
}

func (a addLearner) Do(ctx context.Context) error {
	n, err := a.node(a.step.Nodes[0])
	if err != nil {
		return err
	}
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	if err := a.stillCarries(ctx, n); err != nil {
		return err
	}
	return a.does(EtcdAddLearner, func() error {
		_, err := a.x.o.Etcd.AddLearner(ctx, via, n.PeerURL())
		return err
	})
}

// promoteLearner makes the learner a voter.
type promoteLearner struct{ target }

func (a promoteLearner) Done(ctx context.Context) (bool, error) {
	var ns cluster.NodeState
	if a.step.ByHost { // before the members: what it has applied then, the log held then
		var err error
		if ns, err = a.observed(ctx, a.step.Nodes[0]); err != nil {
			return false, err
		}
	}
	e, err := a.membership(ctx)
	m, ok := e.Member(a.step.Member)
	if err == nil && ok && m.Learner && a.step.ByHost && !plan.InSync(e, m) && !plan.JoinedInSync(e, m, ns) {
		return false, fmt.Errorf("learner %s has not caught up", a.step.Member)
	}
	return ok && !m.Learner, err
}

func (a promoteLearner) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdPromote, func() error { return a.x.o.Etcd.Promote(ctx, via, a.step.Member) })
}

// moveLeader hands leadership from one member to another.
type moveLeader struct{ target }

func (a moveLeader) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	if m, ok := e.Member(a.step.Member); !ok || !m.Leader || err != nil {
		return err == nil, err
	}
	calm := time.NewTimer(calmBeforeMove)
	defer calm.Stop()
	select {
	case <-ctx.Done():
		return false, fmt.Errorf("wait for calm before leadership moves: %w", ctx.Err())
	case <-calm.C:
	}
	a.seen.forget() // the guard looks anew
	return false, nil
}

func (a moveLeader) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdMoveLeader, func() error { return a.x.o.Etcd.MoveLeader(ctx, via, a.step.To) })
}

// removeMember takes a member out of the membership. Its process ends by itself
// when it learns of it; its data is seen to by retireMember.
type removeMember struct{ target }

func (a removeMember) Done(ctx context.Context) (bool, error) {
	if a.step.DataLost { // as its host said a moment ago, at best
		ns, err := a.observed(ctx, a.step.Nodes[0])
		if err != nil {
			return false, err
		}
		if !plan.DataLost(ns, a.step.Member) {
			return false, fmt.Errorf("the data of member %s is not lost", a.step.Member)
		}
	}
	refuses := false
	if a.step.Corrupt {
		refuses, _ = a.refuses(ctx)
	}
	if a.step.NotServing { // it may have been started since its host was asked
		if n, err := a.node(a.step.Nodes[0]); err == nil {
			a.x.o.Observer.AskAgain(n)
		}
	}
	e, err := a.membership(ctx)
	_, there := e.Member(a.step.Member)
	if err == nil && there && a.step.Corrupt {
		err = a.corrupt(ctx, e, refuses)
		a.seen.forget() // that took its time; the guard looks anew
	}
	return !there, err
}

func (a removeMember) Do(ctx context.Context) error {
	if a.step.StopFirst {
		if err := a.stopFirst(ctx); err != nil {
			return err
		}
	}
	if a.fellSilent(ctx) {
		if err := a.awaitLine(ctx); err != nil {
			return err
		}
	}
	if err := a.stillUnwanted(ctx); err != nil {
		return err
	}
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdRemove, func() error { return a.x.o.Etcd.Remove(ctx, via, a.step.Member) })
}

// stopFirst ends the process of a member that is about to be removed. That took its
// time, so whether the removal is safe is asked once more. A crash in between leaves a
// member that is stopped and not wanted, and is taken out as such.
func (a removeMember) stopFirst(ctx context.Context) error {
	err := a.onNodeFor(ctx, stopFirstTimeout, func(ctx context.Context, _ cluster.Node, h host.Host) error {
		return h.StopUnit(ctx, host.StopUnit{Cluster: a.cluster(), Member: a.step.Member, Grace: stopGrace})
	})
	if err != nil {
		return err
	}
	a.seen.forget()
	s := a.step
	s.Serving, s.StopFirst = false, false
	return plan.Guard(s, a.members(ctx))
}

// retireMember stops a member that is out and moves its data aside.
type retireMember struct{ target }

func (a retireMember) Done(ctx context.Context) (bool, error) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	if err != nil {
		return false, err
	}
	_, data := ns.Dir(a.step.Member)
	return !data && (ns.Unit == nil || ns.Unit.Unit.Member != a.step.Member), nil
}

func (a retireMember) Do(ctx context.Context) error {
	return a.onNode(ctx, func(ctx context.Context, n cluster.Node, h host.Host) error {
		f, err := h.Facts(ctx, a.cluster(), n.Address)
		if err != nil {
			return err
		}
		if f.Unit != nil && f.Unit.Unit.Member == a.step.Member && f.Unit.Running {
			if err := h.StopUnit(ctx, host.StopUnit{Cluster: a.cluster(), Member: a.step.Member, Grace: stopGrace}); err != nil {
				return err
			}
		}
		return h.RetireUnit(ctx, a.cluster(), a.step.Member)
	})
}
