package observe

import (
	"context"
	"maps"
	"sync"
	"time"

	"cke/internal/cluster"
)

const (
	// patienceMin and patienceMax bound how long a look waits for the rest of the
	// hosts once half of them have answered.
	patienceMin = 300 * time.Millisecond
	patienceMax = time.Second
	// slowPatience is what a host gets that was slow the last time.
	slowPatience = 100 * time.Millisecond
	// silence is how long a look waits when fewer answer. The next look knows that
	// they are late and goes on without them.
	silence = 5 * time.Second
	// foundingPatience is what each host gets while nothing can be done before
	// all have answered.
	foundingPatience = 10 * time.Second
)

// nodes asks every host and waits for those that answer in good time.
func (o *Observer) nodes(ctx context.Context, w Wanted) map[cluster.NodeName]cluster.NodeState {
	all := w.Nodes()
	began := o.o.Now()
	machines := make([]*machine, len(all))
	p := newPatience(w.Bootstrap.Phase == cluster.PhaseNew)
	o.mu.Lock()
	for i, n := range all {
		machines[i] = o.machine(n)
		p.expect(machines[i])
		o.inquire(w.Spec.Name, machines[i]) //nolint:contextcheck // a question outlives the look that asks it
	}
	o.forget(all)
	o.mu.Unlock()
	o.await(ctx, w.Spec.Name, machines, began, p)

	states := make(map[cluster.NodeName]cluster.NodeState, len(all))
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, n := range all {
		s := o.now(w, machines[i], began)
		m := machines[i]
		switch {
		case !s.Reachable():
			s.AnsweredAt, m.answers = m.heard, time.Time{}
		case m.answers.IsZero():
			m.answers = o.o.Now()
		}
		s.AnswersSince, s.GrewAt = m.answers, m.growth.at
		s.UnreachableSince = since(o.unreachable, n.Hostname, !s.Reachable(), o.o.Now())
		if last, ok := o.measured[n.Hostname]; ok {
			s.Measured = &last
		}
		if s.Unit != nil {
			s.RunsSince, s.EndedAt, s.EndedAnew, s.EndsBefore = m.pulse.runs, m.pulse.ended, m.pulse.anew(), m.pulse.before
		}
		states[n.Hostname] = s
	}
	maps.DeleteFunc(o.measured, func(n cluster.NodeName, _ cluster.Measured) bool {
		_, there := states[n]
		return !there
	})
	return states
}

// forget drops the hosts of nodes that are gone.
func (o *Observer) forget(all []cluster.Node) {
	if len(o.machines) == len(all) {
		return
	}
	there := map[cluster.NodeName]bool{}
	for _, n := range all {
		there[n.Hostname] = true
	}
	for name, m := range o.machines {
		if !there[name] {
			m.giveUp()
			delete(o.machines, name)
			o.judging.Lock()
			delete(o.judged, name)
			o.judging.Unlock()
		}
	}
}

// await returns when every host has answered a question of this look, or its
// patience is at an end.
func (o *Observer) await(ctx context.Context, clusterName string, machines []*machine, began time.Time, p *patience) {
	ctx, cancel := context.WithCancel(ctx)
	answered := make(chan int, len(machines))
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() {
			if o.answered(ctx, clusterName, m, began) {
				answered <- i
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	end := time.NewTimer(p.left())
	defer end.Stop()
	for p.left() > 0 {
		select {
		case i := <-answered:
			p.answered(i)
			end.Reset(p.left())
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// answered waits for the host's answer to a question of this look. One that was
// under way before is not: what made the loop look may have happened since.
func (o *Observer) answered(ctx context.Context, clusterName string, m *machine, began time.Time) bool {
	const questions = 3 // an older one, one given up for a change, its successor
	for range questions {
		o.mu.Lock()
		if m.last != nil && m.last.changes == m.changes && !m.last.asked.Before(began) {
			o.mu.Unlock()
			return true
		}
		q := o.inquire(clusterName, m) //nolint:contextcheck // a question outlives the look that asks it
		o.mu.Unlock()
		if q == nil {
			return false
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// expected says when a host's answer is expected.
type expected int

const (
	late   expected = iota // a question to it was open already, or failed the last time
	slow                   // it needed long the last time
	prompt                 // everyone else
	kinds
)

// patience says how long a look goes on waiting. It learns from those that
// answer what may be expected of the others.
type patience struct {
	began    time.Time
	founding bool
	kind     []expected
	all      [kinds]int
	came     [kinds]int
	// half is when half of the prompt ones had answered; negative before.
	half  time.Duration
	limit time.Duration
}

func newPatience(founding bool) *patience {
	return &patience{began: time.Now(), founding: founding, half: -1}
}

// expect counts one more host, before it is asked.
func (p *patience) expect(m *machine) {
	k := prompt
	switch {
	case m.open != nil || m.last != nil && m.last.err != nil:
		k = late
	case m.last != nil && m.last.arrived.Sub(m.last.asked) >= patienceMax:
		k = slow
	}
	p.kind = append(p.kind, k)
	p.all[k]++
	p.set(0)
}

func (p *patience) answered(i int) {
	p.came[p.kind[i]]++
	p.set(time.Since(p.began))
}

// set decides anew, so long after the look began.
func (p *patience) set(passed time.Duration) {
	switch {
	case p.came == p.all:
		p.limit = 0
	case p.founding:
		p.limit = foundingPatience
	case p.came[prompt]*2 < p.all[prompt]:
		p.limit = silence
	case p.came[prompt] < p.all[prompt]:
		if p.half < 0 {
			p.half = passed
		}
		// Twice what those needed that have answered.
		p.limit = max(patienceMin, min(2*passed, p.half+patienceMax))
	case p.came[slow] < p.all[slow]:
		p.limit = slowPatience
	default:
		p.limit = 0
	}
}

func (p *patience) left() time.Duration { return p.limit - time.Since(p.began) }
