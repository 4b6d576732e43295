package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// ready are the nodes whose endpoints are offered.
func ready(v View) (names []cluster.NodeName) {
	for _, e := range v.Endpoints {
		if e.Ready {
			names = append(names, e.Node)
		}
	}
	return names
}

// TestASilentMemberIsNotOffered: what a ping says is told before the next look,
// and only a look takes it back.
func TestASilentMemberIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		settle(t, w, l)
		v, changed := l.View()
		if got := ready(v); len(got) != 3 {
			t.Fatalf("offered are %v", got)
		}
		url := func(i int) etcd.Endpoint { return etcd.Endpoint(w.wanted.Spec.Nodes[i].ClientURL()) }
		l.silenced(map[etcd.Endpoint]etcd.Pulse{url(0): etcd.Serving, url(1): etcd.Leaderless, url(2): etcd.Serving})
		if now, _ := l.View(); now.Seq != v.Seq {
			t.Errorf("a member without a leader answers, and yet there is a new view: %v", ready(now))
		}
		l.silenced(map[etcd.Endpoint]etcd.Pulse{url(0): etcd.Serving, url(1): etcd.Silent, url(2): etcd.Serving})
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		now, _ := l.View()
		if got := ready(now); len(got) != 2 || got[0] != "n0" || got[1] != "n2" || now.Seq == v.Seq {
			t.Errorf("offered are %v", got)
		}
		if got := ready(v); len(got) != 3 {
			t.Errorf("an older view was changed: %v", got)
		}
		l.Wake()
		w.until(t, time.Minute, "the look", func() bool { return l.shows(3) })
		end()
	})
}

// shows says whether so many endpoints are offered.
func (l *Loop) shows(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(ready(l.view)) == n
}

// TestAKilledMemberIsWithdrawn: the loop notices by itself.
func TestAKilledMemberIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() { w.hosts["n2"].takes = time.Hour; w.hosts["n2"].facts.Unit.Running = false })
		w.until(t, 5*time.Second, "the withdrawal", func() bool { return l.shows(2) })
		end()
	})
}

// TestAnElectionIsFollowed: while it lasts nobody can be told of who died, and
// right after it everybody is, however long the loop's own interval.
func TestAnElectionIsFollowed(t *testing.T) {
	for phase := time.Duration(0); phase < healthEvery; phase += healthEvery / 4 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 3, 3)
			l, end := w.begin(t)
			settle(t, w, l)
			pass(phase)
			w.do(func() {
				w.hosts["n2"].takes, w.hosts["n2"].facts.Unit.Running = time.Hour, false
				w.electing = true
			})
			pass(4 * time.Second)
			if v, _ := l.View(); len(ready(v)) > 0 {
				t.Errorf("in the election %v are ready", ready(v))
			}
			w.do(func() { w.electing = false })
			took := w.until(t, electionEvery+100*time.Millisecond, "the withdrawal", func() bool { return l.shows(2) })
			t.Logf("%s into a round: %s after the election", phase, took)
			end()
		})
	}
}

// TestNoElectionLastsForEver: members that stay without a leader are asked no more
// often than others.
func TestNoElectionLastsForEver(t *testing.T) {
	for _, c := range []struct {
		what  string
		felt  map[etcd.Endpoint]etcd.Pulse
		since time.Duration
		want  time.Duration
	}{
		{"all serve", map[etcd.Endpoint]etcd.Pulse{"a": etcd.Serving, "b": etcd.Serving}, 0, healthEvery},
		{"one is dead", map[etcd.Endpoint]etcd.Pulse{"a": etcd.Serving, "b": etcd.Silent}, 0, healthEvery},
		{"nobody leads", map[etcd.Endpoint]etcd.Pulse{"a": etcd.Leaderless, "b": etcd.Silent}, 0, electionEvery},
		{"nobody leads for a while", map[etcd.Endpoint]etcd.Pulse{"a": etcd.Leaderless, "b": etcd.Silent}, electionTakes - 1, electionEvery},
		{"the quorum is lost", map[etcd.Endpoint]etcd.Pulse{"a": etcd.Leaderless, "b": etcd.Silent}, electionTakes, healthEvery},
	} {
		if got := paceFor(c.felt, c.since); got != c.want {
			t.Errorf("%s: asked each %s, want %s", c.what, got, c.want)
		}
	}
}

// TestAHostThatLiesDoesNotTurnTheLoop: one that says at once each time that the process
// has ended, which runs, is asked about once a second, and looked at no more often.
func TestAHostThatLiesDoesNotTurnTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() { w.hosts["n1"].lies = true; w.hosts["n1"].running(true) })
		pass(time.Second)
		waits, looks := w.calls("n1", "wait-unit"), w.looks()
		const while = 20
		pass(while * time.Second)
		if waits, looks = w.calls("n1", "wait-unit")-waits, w.looks()-looks; waits < while/2 || waits > while+2 || looks > 4*while {
			t.Errorf("in %d seconds it was waited for %d times, and there were %d looks", while, waits, looks)
		}
		// The end of another's process is still seen at once.
		w.do(func() { w.hosts["n2"].running(false) })
		w.until(t, 100*time.Millisecond, "start it again", func() bool { return w.hosts["n2"].facts.Unit.Running })
		end()
	})
}
