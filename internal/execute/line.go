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
	// lineTimeout bounds each question.
	lineTimeout = 3 * time.Second
)

// awaitLine waits while the leader is stuck in a write to the member that goes: applying
// its removal it would wait for that write, and all clients with it. That comes in a few
// seconds some time after a machine went silent, when what was sent to it in vain fills
// the send buffer, soon under load and late without. How the line is, is the leader's
// host's to say; where it cannot, the removal goes on. If it took its time, whether it is
// safe is asked once more.
func (a removeMember) awaitLine(ctx context.Context) error {
	lead, h, ok := a.leadersHost(ctx)
	if !ok {
		return nil
	}
	began := a.x.o.Now()
	for {
		sends, err := a.lineMoves(ctx, h, lead)
		waited := a.x.o.Now().Sub(began)
		if err != nil {
			a.x.o.Log.Debug("ask whether the leader sends to a member that goes", "cluster", a.cluster(), "leader", lead, "member", a.step.Member, "err", err)
		}
		if sends || err != nil || waited >= lineStuck {
			if waited <= lookIsFresh {
				return nil
			}
			a.seen.forget()
			return plan.Guard(a.step, a.members(ctx))
		}
		t := time.NewTimer(lineAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait until leader %s is not stuck in a write to member %s: %w", lead, a.step.Member, ctx.Err())
		case <-t.C:
		}
	}
}

func (a removeMember) lineMoves(ctx context.Context, h host.Host, lead cluster.MemberID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	return h.Sends(ctx, a.cluster(), lead, a.step.Member)
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
