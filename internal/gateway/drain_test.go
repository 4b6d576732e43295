package gateway

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	t.Parallel()
	p := defaultPace()
	short := p.afterAnswer / 6
	for name, c := range map[string]struct {
		l          glance
		soon, late bool
	}{
		"an answer just now":             {glance{silent: short - 1, asked: time.Hour}, false, false},
		"an answer, a moment ago":        {glance{silent: p.afterAnswer - 1, asked: time.Hour}, false, true},
		"after an answer":                {glance{silent: p.afterAnswer, asked: p.afterQuestion}, true, true},
		"after an answer to who asks on": {glance{silent: p.afterAnswer, asked: p.afterQuestion - 1}, false, true},
		"a question is open":             {glance{silent: p.afterQuestion - 1, asked: p.afterQuestion - 1, question: true}, false, false},
		"a question without answer":      {glance{silent: p.afterQuestion, asked: p.afterQuestion, question: true}, true, true},
		"bytes in hand":                  {glance{silent: time.Hour, asked: time.Hour, inHand: true}, false, false},
		"bytes in the kernel":            {glance{silent: time.Hour, asked: time.Hour, queued: 1}, false, false},
	} {
		if soon, late := c.l.quiet(p, false), c.l.quiet(p, true); soon != c.soon || late != c.late {
			t.Errorf("%s: quiet = %v, late %v", name, soon, late)
		}
	}
}

// neverLate has a gateway wait for quiet moments alone.
func neverLate(r *rig) { r.pace.drain = time.Hour }

func TestALeavingMemberHasItsConnectionsEnded(t *testing.T) {
	t.Parallel()
	for _, removed := range []bool{false, true} {
		seen := make(chan error, 2)
		a := newMember(t, "a", func(c *net.TCPConn) {
			_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			seen <- err
		})
		b := newMember(t, "b", echo)
		r := start(t, neverLate, a)
		conn := r.talk(t)
		if removed {
			r.apply(t, b)
		} else {
			a.draining = true
			r.apply(t, a, b)
		}
		mustEnd(t, conn)
		if err := <-seen; err != nil {
			t.Errorf("the member saw %v, want a proper end", err)
		}
		r.until(t, "nothing is left of it", func(s State) bool { return s.Connections["a"] == 0 })
		for range 3 {
			r.talk(t)
		}
		if s := r.state(t); s.Connections["b"] != 3 {
			t.Errorf("the connections are %v", s.Connections)
		}
	}
}

// A member that is only restarted gets nobody new, and ends the connections it has
// itself, late though that may be.
func TestARestartingMemberKeepsItsConnections(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.drain = time.Millisecond }, a)
	conn := r.talk(t)
	a.draining, a.restarting = true, true
	r.apply(t, a, b)
	if left := r.g.sweepOnce(time.Now().Add(time.Hour)); left != 0 {
		t.Errorf("%d connections are to be ended", left)
	}
	for range 3 {
		r.talk(t)
	}
	must(t, trade(conn, "still there"))
	if s := r.state(t); s.Connections["a"] != 1 || s.Connections["b"] != 3 {
		t.Errorf("the connections are %v", s.Connections)
	}
	a.kill()
	mustEnd(t, conn)
}

// asked says whether a question of the only connection is open.
func (r *rig) asked() bool {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	for p := range r.g.pairs {
		return p.question.Load()
	}
	return false
}

// answering is a member that is asked "what?", and says "this" once it may.
func answering(may <-chan struct{}) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		if hear(c, "what?") == nil {
			<-may
			_, _ = io.WriteString(c, "this")
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// answeringInTurn is a member that is asked "one? two?" and says "one." at once, and
// "two." once it may.
func answeringInTurn(may <-chan struct{}) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		if hear(c, "one? two?") == nil {
			_, _ = io.WriteString(c, "one.")
			<-may
			_, _ = io.WriteString(c, "two.")
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// An answer is not the last one that is due. A member that leaves keeps its connection
// until nothing has been asked for a while, and one that is stopped to its own end.
func TestASlowAnswerAfterAnother(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		answer := make(chan struct{})
		a, b := newMember(t, "a", answeringInTurn(answer)), newMember(t, "b", echo)
		r := start(t, func(r *rig) {
			r.pace.drain, r.pace.afterAnswer, r.pace.afterQuestion = time.Hour, time.Millisecond, time.Hour
		}, a)
		conn := r.dial(t)
		_, err := io.WriteString(conn, "one? two?")
		must(t, err)
		must(t, hear(conn, "one."))
		a.draining, a.restarting = true, stopped
		r.apply(t, a, b)
		silent := func() bool {
			r.g.mu.Lock()
			defer r.g.mu.Unlock()
			for p := range r.g.pairs {
				return time.Duration(p.now()-p.last.Load()) > 10*r.pace.afterAnswer
			}
			return false
		}
		eventually(t, "nobody speaks", silent)
		at, left := time.Now(), 1
		if stopped {
			at, left = at.Add(24*time.Hour), 0 // it is not waited for, and not ended
		}
		if got := r.g.sweepOnce(at); got != left {
			t.Fatalf("%d connections are waited for, want %d", got, left)
		}
		close(answer)
		must(t, hear(conn, "two."))
		if s := r.state(t); s.Connections["a"] != 1 {
			t.Errorf("stopped %v: the connections are %v", stopped, s.Connections)
		}
	}
}

// Whoever has asked gets the answer before the end.
func TestAnOpenQuestionIsAnsweredFirst(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	a := newMember(t, "a", answering(answer))
	b := newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.drain, r.pace.afterQuestion = time.Hour, time.Hour }, a)
	conn := r.dial(t)
	_, err := io.WriteString(conn, "what?")
	must(t, err)
	eventually(t, "it is asked", r.asked)
	r.apply(t, b)
	if left := r.g.sweepOnce(time.Now()); left != 1 {
		t.Fatalf("%d connections are waited for, want 1", left)
	}
	close(answer)
	must(t, hear(conn, "this"))
	r.endLate(t)
	mustEnd(t, conn)
}

// endLate has the sweeper look as if most of an hour's wait were over, until nobody is
// waited for.
func (r *rig) endLate(t *testing.T) {
	t.Helper()
	eventually(t, "nobody is waited for", func() bool { return r.g.sweepOnce(time.Now().Add(40*time.Minute)) == 0 })
}

// As long as somebody has not read what is there, silence is no quiet moment.
func TestWhatIsOnItsWayIsWaitedFor(t *testing.T) {
	t.Parallel()
	const size = 40 << 20
	a := newMember(t, "a", func(c *net.TCPConn) {
		_, _ = io.Copy(struct{ io.Writer }{c}, flow(5, size))
		_, _ = io.Copy(io.Discard, c)
	})
	b := newMember(t, "b", echo)
	r := start(t, neverLate, a)
	conn := r.dial(t)
	r.until(t, "it is led on", func(s State) bool { return s.Connections["a"] == 1 })
	nothingMoves := func() bool {
		r.g.mu.Lock()
		defer r.g.mu.Unlock()
		for p := range r.g.pairs {
			return p.inHand.Load() > 0 && time.Duration(p.now()-p.last.Load()) > 10*r.pace.afterAnswer
		}
		return false
	}
	eventually(t, "the kernel is full", nothingMoves)
	a.draining = true
	r.apply(t, a, b)
	for range 10 {
		if left := r.g.sweepOnce(time.Now()); left != 1 {
			t.Fatalf("%d connections are waited for, want 1", left)
		}
	}
	a.draining = false
	r.apply(t, a, b)
	if got, want := sum(t, io.LimitReader(conn, size)), sum(t, flow(5, size)); got != want {
		t.Errorf("the client got %s, want %s", got, want)
	}
}

// Somebody who never stops speaking is not waited for for ever.
func TestTheWaitForAQuietMomentIsBounded(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	members := map[string]func(*net.TCPConn){
		"speaks on": func(c *net.TCPConn) {
			for err := error(nil); err == nil; {
				_, err = c.Write(make([]byte, 1000))
			}
		},
		"does not read": func(*net.TCPConn) { <-stuck },
	}
	for name, serve := range members {
		a, b := newMember(t, "a", serve), newMember(t, "b", echo)
		r := start(t, func(r *rig) { r.pace.drain, r.pace.farewell = 100*time.Millisecond, 100*time.Millisecond }, a)
		conn := r.dial(t)
		go func() {
			for err := error(nil); err == nil; {
				_, err = conn.Write(make([]byte, 1000))
			}
		}()
		r.until(t, "it is led on", func(s State) bool { return s.Connections["a"] == 1 })
		r.apply(t, b)
		if _, err := io.Copy(io.Discard, conn); err != nil && name == "speaks on" {
			t.Logf("%s: the client saw %v", name, err)
		}
		r.until(t, name+": nothing is left of it", func(s State) bool { return s.Connections["a"] == 0 })
		if name == "does not read" {
			close(stuck)
		}
	}
}

// With every member on its way out there is nowhere to go.
func TestWhenAllAreDrainingTheyServeOn(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, neverLate, a, b)
	before := r.talk(t)
	onA := r.state(t).Connections["a"] == 1
	a.draining, b.draining = true, true
	r.apply(t, a, b)
	exchange(t, before, "hello")
	exchange(t, r.dial(t), "hello")
	if left := r.g.sweepOnce(time.Now()); left != 0 {
		t.Errorf("%d connections are to be ended", left)
	}
	exchange(t, before, "hello")

	// One of them stays after all: now there is.
	a.draining, b.draining = onA, !onA
	r.apply(t, a, b)
	mustEnd(t, before)
}

func TestADrainingMemberKeepsItsConnectionsWhileTheOthersAreDead(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, func(r *rig) {
		neverLate(r)
		r.pace.probeMin, r.pace.probeMax = time.Millisecond, 10*time.Millisecond
	}, b)
	b.kill()
	r.mustRefuse(t)
	r.until(t, "b is known to be dead", func(s State) bool { return !s.Healthy["b"] })
	a.draining = true
	r.apply(t, a, b)
	conn := r.talk(t)
	if left := r.g.sweepOnce(time.Now()); left != 0 {
		t.Errorf("%d connections are to be ended", left)
	}
	exchange(t, conn, "hello")
	b.listen(t)
	mustEnd(t, conn)
}

// Lists come and go; a connection whose member is in all of them never notices.
func TestAChangeTouchesNoConnectionOfThoseWhoStay(t *testing.T) {
	t.Parallel()
	a, b, c := newMember(t, "a", echo), newMember(t, "b", echo), newMember(t, "c", echo)
	r := start(t, neverLate, a)
	conn := r.dial(t)
	exchange(t, conn, "hello")
	stop, trouble := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				trouble <- nil
				return
			default:
				if err := trade(conn, "0123456789"); err != nil {
					trouble <- err
					return
				}
			}
		}
	}()
	for range 5 {
		r.apply(t, a, b)
		r.apply(t, c, a)
		b.draining = !b.draining
		r.apply(t, b, a, c)
		r.apply(t, a)
	}
	close(stop)
	must(t, <-trouble)
	if n := a.served.Load(); n != 1 {
		t.Errorf("a was connected to %d times", n)
	}
}

// A word that comes too late, in the moment of the end, costs nobody an RST.
func TestAWordInTheMomentOfTheEnd(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	for range 20 {
		r := start(t, func(r *rig) { r.pace.drain = time.Millisecond }, a)
		conn := r.talk(t)
		go func() {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, "word")
			}
		}()
		r.put(t, b)
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatalf("the client saw %v", err)
		}
		must(t, conn.Close())
		r.end(t)
	}
}
