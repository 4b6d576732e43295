package execute

import (
	"context"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

const (
	// lineStuck is longer than etcd is ever stuck in writing to a peer: two writes of
	// five seconds each (rafthttp's ConnWriteTimeout). After that it is removed however
	// the leader's line to it looks.
	lineStuck = 12 * time.Second
	// lineAgain is how long nobody asks after a question that was not answered.
	lineAgain = 100 * time.Millisecond
	// lineTimeout bounds each question: the leader's host may be slow.
	lineTimeout = 10 * time.Second
)

// fellSilent: the member that goes does not serve, as the step has it or, of a learner
// that nobody wants, as was seen right before.
func (a removeMember) fellSilent(ctx context.Context) bool {
	m, there := a.members(ctx).Member(a.step.Member)
	return a.step.NotServing || there && m.Learner && !m.Healthy
}

// awaitLine waits while the leader is stuck in a write to the member that goes: applying
// its removal it would wait for that write, and all clients with it. That comes in a few
// seconds some time after a machine went silent, when what was sent to it in vain fills
// the send buffer, soon under load and late without. How the line is, is the leader's
// host's to say, whoever leads by then; where it cannot, the removal goes on. If it took
// its time, whether it is safe is asked once more.
func (a removeMember) awaitLine(ctx context.Context) error {
	began := a.x.o.Now()
	for {
		moves := a.lineMoves(ctx)
		waited := a.x.o.Now().Sub(began)
		if moves && waited <= lookIsFresh {
			return nil
		}
		a.seen.forget() // another may lead by now
		if moves || waited >= lineStuck {
			return plan.Guard(a.step, a.members(ctx))
		}
		t := time.NewTimer(lineAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait until the leader is not stuck in a write to member %s: %w", a.step.Member, ctx.Err())
		case <-t.C:
		}
	}
}

// lineMoves says whether the leader is known to be stuck no more, or nobody can say.
func (a removeMember) lineMoves(ctx context.Context) bool {
	lead, h, ok := a.leadersHost(ctx)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	sends, err := h.Sends(ctx, a.cluster(), lead, a.step.Member)
	if err != nil {
		a.x.o.Log.Debug("ask whether the leader sends to a member that goes", "cluster", a.cluster(), "leader", lead, "member", a.step.Member, "err", err)
	}
	return sends || err != nil
}

// leadersHost is that of the leader, where it is known and another's than of the member
// that goes.
func (a removeMember) leadersHost(ctx context.Context) (cluster.MemberID, host.Host, bool) {
	for _, m := range a.members(ctx).Members {
		if !m.Leader || m.ID == a.step.Member {
			continue
		}
		for _, n := range a.w.Nodes() {
			if n.PeerURL() != m.PeerURL {
				continue
			}
			h, err := a.host(n)
			return m.ID, h, err == nil
		}
	}
	return 0, nil, false
}
