package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// operation is what a chain of daemons carries on.
type operation struct {
	name string
	act  func() bool // what is asked for; nil: nothing. false when the daemon died before it answered
	over func(api.Status) error
	dead func() // what must hold whenever a daemon was killed
}

// chain has one daemon after the other carry an operation on, each killed right after
// its first effect that none before it was killed after, and those under way beside it,
// until one is left that is done. So a next one begins after every effect, although none
// gets much further than a step. Steps of these kinds must have been among them. No daemon
// runs when it begins; one that nobody kills does at its end.
func (l *living) chain(op operation, kinds ...plan.Kind) {
	l.t.Helper()
	began := time.Now()
	var killed []string
	asked := op.act == nil
	for {
		l.startTraced(drive.KillAfterAnother(killed))
		if !asked {
			asked = op.act()
		}
		died := l.diedOr(op.over)
		last := drive.KilledAfter(l.effects(), killed)
		switch {
		case len(last) == 0 && died:
			l.t.Fatalf("%s: a daemon was killed after %q, those before it after %q", op.name, l.effects(), killed)
		case !died && len(last) > 0:
			l.dies() // what it did last is seen before it is dead
		}
		if len(last) == 0 {
			break
		}
		killed = append(killed, last...)
		for _, e := range last {
			l.reached.killedAfter(e)
		}
		op.dead()
	}
	l.t.Logf("%s: %s with daemons killed after %q", op.name, time.Since(began).Round(time.Millisecond), killed)
	if !asked {
		l.t.Errorf("%s: nobody was asked for it", op.name)
	}
	for _, k := range kinds {
		if !slices.ContainsFunc(killed, func(e string) bool { return kindOf(e) == k }) {
			l.t.Errorf("%s: no daemon was killed in a step %s", op.name, k)
		}
	}
	// The last one would still end itself after another effect.
	l.Kill()
	l.Start()
	l.checkData()
	l.checkSame()
	l.authStaysOn()
	l.NeverBelowQuorum()
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// kindOf is the kind of step of an effect as a trace has it.
func kindOf(effect string) plan.Kind {
	kind, _, _ := strings.Cut(effect, " ")
	return plan.Kind(kind)
}

// write has the tenant write what checkData looks for.
func (l *living) write() {
	l.t.Helper()
	l.rounds++
	l.ask("write as the tenant", func(ctx context.Context) error {
		_, err := l.tenant.Put(ctx, fmt.Sprintf("/app/%d", l.rounds), fmt.Sprint(l.rounds))
		return err
	})
}

// intact: whenever a daemon was killed, the tenant reads what it wrote, and nobody more.
func (l *living) intact() {
	l.t.Helper()
	l.authStaysOn()
	l.checkData()
}

// editTo asks for these nodes with the settings of the moment, and over says when that
// is done.
func (l *living) editTo(nodes ...int) (act func() bool, over func(api.Status) error) {
	revision := int64(0)
	act = func() (lived bool) {
		revision, lived = l.edit(nodes...)
		return lived
	}
	over = func(s api.Status) error {
		if !s.Settled || s.SpecRevision < revision {
			return fmt.Errorf("revision %d is planned for", s.SpecRevision)
		}
		return nil
	}
	return act, over
}

// voterOn says whether a node carries a voter that serves.
func voterOn(s api.Status, node cluster.NodeName) bool {
	return slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool {
		return n.Hostname == node && n.Member != nil && !n.Member.Learner && n.Member.Healthy
	})
}

// memberOn is the member of a node, 0 without one.
func memberOn(s api.Status, node cluster.NodeName) cluster.MemberID {
	for _, n := range s.Nodes {
		if n.Hostname == node && n.Member != nil {
			return n.Member.ID
		}
	}
	return 0
}
