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
