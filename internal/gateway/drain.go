package gateway

import "time"

// How long nobody must have spoken before a connection is ended.
const (
	// An answer was the last word. A peer that has more to say says it sooner.
	quietAfterAnswer = 30 * time.Millisecond
	// The client spoke last, so that an answer may be on its way; a write waits
	// for disks. But it may also have been a word that wants no answer, as HTTP/2
	// has some.
	quietAfterQuestion = 500 * time.Millisecond
)

// glance is a connection at one moment.
type glance struct {
	silent   time.Duration // since somebody spoke last
	question bool          // the client spoke last
	inHand   bool          // bytes are on their way through the gateway
	queued   int           // bytes that the kernel has: not read yet, or not acknowledged
}

// quiet says whether ending it now takes no word out of anyone's mouth.
func (l glance) quiet() bool {
	if l.question && l.silent < quietAfterQuestion {
		return false
	}
	return l.silent >= quietAfterAnswer && !l.inHand && l.queued == 0
}

// glance looks at the sockets only if the rest is quiet.
func (p *pair) glance() glance {
	l := glance{
		silent:   time.Duration(p.now() - p.last.Load()),
		question: p.question.Load(),
		inHand:   p.inHand.Load() != 0,
	}
	if l.quiet() {
		l.queued = queued(p.client) + queued(p.upstream)
	}
	return l
}

// sweep ends connections whose upstream leaves, each at a quiet moment, until
// the gateway has ended. Without any it costs nothing.
func (g *gateway) sweep() {
	for {
		for g.sweepOnce(time.Now()) > 0 {
			if !wait(g.work, g.pace.sweep) {
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
		if now.Before(p.endBy) && !p.glance().quiet() {
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
