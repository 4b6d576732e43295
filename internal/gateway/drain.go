package gateway

import "time"

// glance is a connection at one moment.
type glance struct {
	silent   time.Duration // since somebody spoke last
	asked    time.Duration // since the client did
	question bool          // it was the client
	inHand   bool          // bytes are on their way through the gateway
	queued   int           // bytes that the kernel has: not read yet, or not acknowledged
}

// quiet says whether ending it now takes no word out of anyone's mouth, as far as
// that can be seen: a client may have asked more than what was answered, so it must
// have asked nothing for a while. When most of the time for waiting is over, a short
// silence after an answer must do: who asks again and again is silent for no longer.
func (l glance) quiet(p pace, late bool) bool {
	if l.inHand || l.queued != 0 {
		return false
	}
	if late && !l.question {
		return l.silent >= p.afterAnswer/6
	}
	return l.silent >= p.afterAnswer && l.asked >= p.afterQuestion
}

// quiet looks at the sockets only if the rest is quiet.
func (p *pair) quiet(late bool) bool {
	l := glance{
		silent:   time.Duration(p.now() - p.last.Load()),
		asked:    time.Duration(p.now() - p.askedLast.Load()),
		question: p.question.Load(),
		inHand:   p.inHand.Load() != 0,
	}
	if !l.quiet(p.g.pace, late) {
		return false
	}
	l.queued = queued(p.client) + queued(p.upstream)
	return l.quiet(p.g.pace, late)
}

// sweep ends connections whose upstream leaves, each at a quiet moment, until
// the gateway has ended. Without any it costs nothing.
func (g *gateway) sweep() {
	for {
		for g.sweepOnce(time.Now()) > 0 {
			if !g.wait(nil, g.pace.sweep) {
				return
			}
		}
		select {
		case <-g.look:
		case <-g.work.Done():
			return
		}
	}
}

// sweepOnce says how many connections are still to be ended.
func (g *gateway) sweepOnce(now time.Time) int {
	var due []*pair
	g.mu.Lock()
	for p := range g.pairs {
		switch {
		case p.ending.Load():
		case !g.leaving(p.up):
			p.endBy = time.Time{}
		default:
			if p.endBy.IsZero() {
				p.endBy = now.Add(g.pace.drain)
			}
			due = append(due, p)
		}
	}
	g.mu.Unlock()
	left := 0
	for _, p := range due {
		rest := p.endBy.Sub(now)
		if rest > 0 && !p.quiet(rest < g.pace.drain/2) {
			left++
			continue
		}
		p.hangUp()
	}
	return left
}

// endUnanswered ends connections whose first word their upstream leaves
// unanswered: their clients, which would wait for longer, come again and are
// led elsewhere.
func (g *gateway) endUnanswered() {
	var mute []*pair
	g.mu.Lock()
	for p := range g.pairs {
		asked := p.asked.Load()
		if asked != 0 && !p.answered.Load() && !p.ending.Load() &&
			time.Duration(p.now()-asked) >= g.pace.silence && g.elsewhere(p.up) {
			mute = append(mute, p)
		}
	}
	g.mu.Unlock()
	for _, p := range mute {
		g.muted(p.up)
		p.hangUp()
	}
}
