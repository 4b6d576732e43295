package observe

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

const (
	// factsTimeout bounds the question to one host.
	factsTimeout = 15 * time.Second
	// lateAfter is how long a question may go unanswered before the host counts
	// as away rather than slow, whatever it said before.
	lateAfter = 10 * time.Second
	// staleAfter is how old an answer may be to stand in for a late one.
	staleAfter = 30 * time.Second
)

// machine is the host of one node: the question under way, and what it said last.
type machine struct {
	node cluster.Node
	// changes counts what this cke did there; an answer to a question from before
	// the last of them no longer holds.
	changes int
	open    *question // nil while none is under way
	last    *answer   // nil before the first
	heard   time.Time // when it last answered
	answers time.Time // since when no look was without its answer; zero while one is
	// used is the answer the newest look went by; nil when it had none.
	used *answer
	// pulse is what was seen of its member's process.
	pulse pulse
	// growth is what was seen of its member's data.
	growth growth
}

type question struct {
	at      time.Time
	changes int
	cancel  context.CancelFunc
	done    chan struct{}
}

type answer struct {
	asked, arrived time.Time
	changes        int
	facts          host.Facts
	err            error
}

// says whether two answers say the same, but for sizes, which always move.
func (a *answer) says(b *answer) bool {
	if (a.err == nil) != (b.err == nil) {
		return false
	}
	if a.err != nil {
		return a.err.Error() == b.err.Error()
	}
	return reflect.DeepEqual(withoutSizes(a.facts), withoutSizes(b.facts))
}

func withoutSizes(f host.Facts) host.Facts {
	f.Free, f.Disk.Free = 0, 0
	if f.Gateway != nil {
		g := *f.Gateway
		g.Connections = nil
		f.Gateway = &g
	}
	if f.Unit != nil {
		u := *f.Unit
		u.Applied, u.Logged = 0, 0
		f.Unit = &u
	}
	f.Data, f.Aside = slices.Clone(f.Data), slices.Clone(f.Aside)
	for i := range f.Data {
		f.Data[i].Bytes = 0
	}
	for i := range f.Aside {
		f.Aside[i].Bytes = 0
	}
	return f
}

// Changed says that something was changed on a node's host just now, or has
// changed by itself: what the host said before no longer holds.
func (o *Observer) Changed(name cluster.NodeName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m, ok := o.machines[name]; ok {
		m.changes++
		m.giveUp()
	}
}

// slow says whether a node's host is known to take its time or to be away, so that
// others should not wait for it.
func (o *Observer) slow(name cluster.NodeName) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, away := o.unreachable[name]; away {
		return true
	}
	m, ok := o.machines[name]
	if !ok {
		return false
	}
	open := m.open != nil && o.o.Now().Sub(m.open.at) >= patienceMax
	return open || m.last != nil && m.last.arrived.Sub(m.last.asked) >= patienceMax
}

// serving notes which members serve. The caller holds the lock.
func (o *Observer) serving(e cluster.EtcdState) {
	for _, m := range o.machines {
		if served, ok := e.Member(m.pulse.member); ok && served.Healthy {
			m.pulse.serves(o.o.Now())
		}
	}
}

func (m *machine) giveUp() {
	if m.open != nil {
		m.open.cancel()
		m.open = nil
	}
}

// machine returns a node's host. One that is reached in another way than before
// is another host. The caller holds the lock.
func (o *Observer) machine(n cluster.Node) *machine {
	m, ok := o.machines[n.Hostname]
	if !ok || m.node != n {
		if ok {
			m.giveUp()
		}
		m = &machine{node: n}
		o.machines[n.Hostname] = m
	}
	return m
}

// inquire puts the question to a host unless one is under way; there is never
// more than one. The caller holds the lock.
func (o *Observer) inquire(clusterName string, m *machine) *question {
	if m.open != nil || o.ctx.Err() != nil {
		return m.open
	}
	ctx, cancel := context.WithTimeout(o.ctx, factsTimeout)
	q := &question{at: o.o.Now(), changes: m.changes, cancel: cancel, done: make(chan struct{})}
	m.open = q
	o.wg.Go(func() {
		defer cancel()
		defer close(q.done)
		f, err := o.facts(ctx, clusterName, m.node)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", factsTimeout)
		}
		o.arrive(m, q, &answer{asked: q.at, arrived: o.o.Now(), changes: q.changes, facts: f, err: err})
	})
	return q
}

func (o *Observer) arrive(m *machine, q *question, a *answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.open != q {
		return // given up meanwhile
	}
	m.open, m.last = nil, a
	if a.err == nil {
		m.heard = a.arrived
		m.pulse.note(a.facts.Unit, a.arrived)
		m.growth.note(a.facts, a.arrived)
	}
	if o.ctx.Err() == nil && (m.used == nil || !a.says(m.used)) {
		select {
		case o.news <- struct{}{}:
		default:
		}
	}
}

// now is what a look that began then goes by. The caller holds the lock.
func (o *Observer) now(w Wanted, m *machine, began time.Time) cluster.NodeState {
	m.used = nil
	now, last := o.o.Now(), m.last
	holds := last != nil && last.changes == m.changes
	var waited time.Duration
	if m.open != nil {
		waited = now.Sub(m.open.at)
	}
	switch {
	case holds && !last.asked.Before(began):
		m.used = last
		return o.state(w, m.node, last.facts, last.err)
	case last != nil && last.err != nil: // until it says something else
		m.used = last
		return silent(last.err)
	// Founding wants to hear now from every host that it is bare.
	case holds && waited < lateAfter && now.Sub(last.asked) < staleAfter && w.Bootstrap.Phase != cluster.PhaseNew:
		m.used = last
		ns := o.state(w, m.node, last.facts, nil)
		ns.AnsweredAt = last.arrived
		return ns
	default:
		return cluster.NodeState{Err: fmt.Sprintf("it has not answered for %s", waited.Round(100*time.Millisecond)), Awaited: waited < lateAfter}
	}
}
