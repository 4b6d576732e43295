package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/pki"
)

// slowHost answers facts after a while, or with an error.
type slowHost struct {
	host.Host
	mu    sync.Mutex
	takes time.Duration
	err   error
	facts host.Facts
	asked int
	under atomic.Int32 // questions under way
	most  atomic.Int32
}

func (h *slowHost) set(change func(*slowHost)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *slowHost) Facts(ctx context.Context, _ string, _ netip.Addr) (host.Facts, error) {
	if n := h.under.Add(1); n > h.most.Load() {
		h.most.Store(n)
	}
	defer h.under.Add(-1)
	h.mu.Lock()
	takes, err, f := h.takes, h.err, h.facts // as it was when it was asked
	h.asked++
	h.mu.Unlock()
	if ctxErr := passed(ctx, takes); ctxErr != nil {
		return host.Facts{}, fmt.Errorf("facts: %w", ctxErr)
	}
	return f, err
}

// passed waits. A channel timer that is due at once crashes Go 1.26's race detector
// in a bubble now and then, so none is made.
func passed(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type slowHosts map[cluster.NodeName]*slowHost

func (m slowHosts) Host(n cluster.Node) (host.Host, error) { return m[n.Hostname], nil }

// slowEtcd answers after a while.
type slowEtcd struct {
	takes time.Duration
	asked atomic.Int32
	w     Wanted
}

func (e *slowEtcd) Observe(ctx context.Context, eps []etcd.Endpoint, _ []cluster.Node) cluster.EtcdState {
	if len(eps) == 0 {
		return cluster.EtcdState{}
	}
	e.asked.Add(1)
	if err := passed(ctx, e.takes); err != nil {
		return cluster.EtcdState{Asked: true, Err: err.Error()}
	}
	s := cluster.EtcdState{Asked: true, Quorum: true}
	for i, n := range e.w.Spec.Nodes[:3] {
		s.Members = append(s.Members, cluster.Member{ID: cluster.MemberID(i + 1), Name: string(n.Hostname), PeerURL: n.PeerURL(), Healthy: true})
	}
	return s
}

func (e *slowEtcd) Keep([]string) {}

func (e *slowEtcd) AskAnew([]etcd.Endpoint) {}

type lookout struct {
	*Observer
	w     Wanted
	hosts slowHosts
	etcd  *slowEtcd
}

func newLookout(t *testing.T, n int) *lookout {
	authority, err := pki.NewAuthority("main", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := &lookout{hosts: slowHosts{}, etcd: &slowEtcd{}}
	l.w.Spec.Name = "main"
	l.w.Bootstrap.Phase = cluster.PhaseBootstrapped
	for i := range n {
		node := cluster.Node{Hostname: cluster.NodeName(fmt.Sprintf("n%d", i)), ControlPlane: true, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		l.w.Spec.Nodes = append(l.w.Spec.Nodes, node)
		h := &slowHost{}
		if i < 3 {
			h.facts.Unit = &cluster.UnitState{Running: true, Sealed: true}
		}
		l.hosts[node.Hostname] = h
	}
	l.etcd.w = l.w
	l.Observer = New(Options{
		Hosts: l.hosts, Etcd: l.etcd, Authority: authority, Now: time.Now,
		Identity: func() host.Identity { return host.Identity{} }, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(l.Close)
	return l
}

// look observes and says how long that took.
func (l *lookout) look(t *testing.T) (cluster.State, time.Duration) {
	began := time.Now()
	st := l.Observe(t.Context(), l.w)
	return st, time.Since(began)
}

func (l *lookout) heard() bool {
	synctest.Wait()
	select {
	case <-l.News():
		return true
	default:
		return false
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

// TestLookDoesNotWaitForASlowHost: one host of twenty needs 5 s for every
// answer. No look waits for it for long; its answers count all the same.
func TestLookDoesNotWaitForASlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 20)
		slow := l.hosts["n7"]
		slow.takes = 5 * time.Second
		st, took := l.look(t)
		if ns := st.Nodes["n7"]; took > 400*time.Millisecond || ns.Reachable() || !ns.Awaited {
			t.Errorf("the first look took %s and says %+v", took, ns)
		}
		if st, took = l.look(t); took > 0 || st.Nodes["n7"].Reachable() {
			t.Errorf("the second look took %s: it knows that the host is late", took)
		}
		pass(5 * time.Second)
		if !l.heard() {
			t.Error("the late answer wakes nobody")
		}
		for range 20 {
			st, took = l.look(t)
			ns := st.Nodes["n7"]
			if took > slowPatience || !ns.Reachable() || ns.AnsweredAt.IsZero() || !ns.UnreachableSince.IsZero() {
				t.Fatalf("a later look took %s and says %+v", took, ns)
			}
			pass(time.Second)
			if l.heard() {
				t.Error("an answer that says nothing new wakes the loop")
			}
		}
		for name, h := range l.hosts {
			if h.most.Load() > 1 {
				t.Errorf("%s was asked %d questions at once", name, h.most.Load())
			}
		}
	})
}

// TestChangeMakesOlderAnswersInvalid: what a slow host said before something was
// changed there is not gone by any more, even if it arrives afterwards.
func TestChangeMakesOlderAnswersInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 3)
		slow := l.hosts["n1"]
		slow.takes = 5 * time.Second
		l.look(t)
		pass(5 * time.Second)
		if st, _ := l.look(t); !st.Nodes["n1"].Unit.Running {
			t.Fatal("the answer is not used")
		}
		pass(time.Second) // a question is under way
		slow.set(func(h *slowHost) { h.facts.Unit = nil })
		l.Changed("n1")
		for range 8 {
			st, _ := l.look(t)
			if ns := st.Nodes["n1"]; ns.Reachable() && ns.Unit != nil {
				t.Fatalf("an answer from before the change is used: %+v", ns)
			}
			pass(time.Second)
		}
		if st, _ := l.look(t); !st.Nodes["n1"].Reachable() {
			t.Error("the answer from after the change is not used")
		}
	})
}

// TestSilentHostIsAwayInTheEnd: one that answered and then does not any more is
// late first, then away, since one instant; a refused connection is told at once.
func TestSilentHostIsAwayInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 5)
		l.look(t)
		pass(time.Millisecond) // an answer of the same instant is one to the next look
		l.hosts["n1"].set(func(h *slowHost) { h.takes = time.Hour })
		l.hosts["n2"].set(func(h *slowHost) { h.err = errors.New("dial 10.0.0.3:22: connection refused") })
		begin := time.Now()
		st, took := l.look(t)
		if took > 400*time.Millisecond || !st.Nodes["n1"].Reachable() || st.Nodes["n2"].Reachable() {
			t.Fatalf("%s: %+v", took, st.Nodes)
		}
		var away time.Time
		for time.Since(begin) < time.Minute {
			pass(time.Second)
			st, took := l.look(t)
			ns := st.Nodes["n1"]
			if took > slowPatience {
				t.Errorf("a look took %s", took)
			}
			if time.Since(begin) > lateAfter+2*time.Second && (ns.Reachable() || ns.Awaited) {
				t.Fatalf("after %s: %+v", time.Since(begin), ns)
			}
			if !ns.Reachable() && away.IsZero() {
				away = ns.UnreachableSince
			}
			if !ns.UnreachableSince.Equal(away) {
				t.Fatalf("away since %s, then since %s", away, ns.UnreachableSince)
			}
		}
		l.hosts["n1"].set(func(h *slowHost) { h.takes = 0 })
		pass(factsTimeout)
		l.look(t) // it asks, and waits for nobody who was away
		pass(time.Millisecond)
		if st, _ := l.look(t); !st.Nodes["n1"].Reachable() || !st.Nodes["n1"].UnreachableSince.IsZero() {
			t.Errorf("back, but %+v", st.Nodes["n1"])
		}
	})
}

// TestFoundingHearsEveryHost: before the founding every host is waited for, and
// none is taken by its word of earlier.
func TestFoundingHearsEveryHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 3)
		l.w.Bootstrap.Phase = cluster.PhaseNew
		l.hosts["n1"].takes = 5 * time.Second
		for range 2 {
			if st, took := l.look(t); took != 5*time.Second || !st.Nodes["n1"].Reachable() || !st.Nodes["n1"].AnsweredAt.IsZero() {
				t.Errorf("%s: %+v", took, st.Nodes["n1"])
			}
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if st := l.Observe(hurried, l.w); st.Nodes["n1"].Reachable() {
			t.Errorf("an earlier answer stands in: %+v", st.Nodes["n1"])
		}
		pass(factsTimeout)
		l.hosts["n1"].set(func(h *slowHost) { h.takes = time.Hour })
		if st, took := l.look(t); took != foundingPatience || st.Nodes["n1"].Reachable() {
			t.Errorf("%s: %+v", took, st.Nodes["n1"])
		}
	})
}

// TestLookTakesAsLongAsTheSlowestHost: twenty hosts and the members are asked at
// the same time, once each.
func TestLookTakesAsLongAsTheSlowestHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 20)
		for i := range 20 {
			l.hosts[cluster.NodeName(fmt.Sprintf("n%d", i))].takes = time.Duration(40+2*i) * time.Millisecond
		}
		l.etcd.takes = 78 * time.Millisecond
		if _, took := l.look(t); took > 160*time.Millisecond {
			t.Errorf("the first look, which knows no member, took %s", took)
		}
		before := l.etcd.asked.Load()
		if st, took := l.look(t); took != 78*time.Millisecond || !st.Etcd.Quorum || l.etcd.asked.Load() != before+1 {
			t.Errorf("a settled look took %s and %d questions to the members", took, l.etcd.asked.Load()-before)
		}
		// A member that runs where none did is asked too.
		l.hosts["n3"].facts.Unit = &cluster.UnitState{Running: true}
		if st, took := l.look(t); took > 160*time.Millisecond || !st.Etcd.Quorum {
			t.Errorf("a look that finds another member took %s", took)
		}
	})
}

// TestGuardGoesOnBesideASlowHost: whether a newer leader acts is asked of those
// that answer.
func TestGuardGoesOnBesideASlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 4)
		l.hosts["n1"].takes = 5 * time.Second
		l.hosts["n2"].facts.Epoch = 9
		began := time.Now()
		if node, deposed := l.Deposed(t.Context(), l.w); !deposed || node != "n2" || time.Since(began) > 400*time.Millisecond {
			t.Errorf("%s %v after %s", node, deposed, time.Since(began))
		}
	})
}

// TestOnceDeposedAlwaysDeposed: the host that said so may be silent or gone by the
// time that the next step is to be taken, or be another cluster's.
func TestOnceDeposedAlwaysDeposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 4)
		l.hosts["n2"].facts.Epoch = 9
		if st, _ := l.look(t); !st.Nodes["n2"].Deposed || !strings.Contains(st.NewerLeader, "n2 (epoch 9, this one is ") {
			t.Fatalf("the look says %q, %+v", st.NewerLeader, st.Nodes["n2"])
		}
		l.hosts["n2"].takes = time.Hour
		<-time.After(time.Minute)
		if st, _ := l.look(t); st.Nodes["n2"].Reachable() || st.NewerLeader == "" {
			t.Errorf("once the host is silent the look says %q, %+v", st.NewerLeader, st.Nodes["n2"])
		}
		if node, deposed := l.Deposed(t.Context(), l.w); !deposed || node != "n2" {
			t.Errorf("a guard is told %s %v", node, deposed)
		}
		l.w.Spec.Nodes = l.w.Spec.Nodes[2:]
		if _, deposed := l.Deposed(t.Context(), l.w); !deposed {
			t.Error("once the host is gone from the spec it is forgotten")
		}
		other := newLookout(t, 3)
		other.o.Newest = l.o.Newest
		if st, _ := other.look(t); st.NewerLeader == "" {
			t.Error("another cluster of the same daemon does not know")
		}
	})
}

// TestWhoOnlySaysSoDeposesNobody: a machine that somebody has broken into may say what
// it likes. It is left alone, and the others are cared for.
func TestWhoOnlySaysSoDeposesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 4)
		l.o.Proves = func(epoch int64, proof string) bool { return epoch == 9 && proof == "of 9" }
		l.hosts["n2"].facts.Epoch, l.hosts["n2"].facts.Proof = 1<<60, "of 9"
		st, _ := l.look(t)
		if ns := st.Nodes["n2"]; st.NewerLeader != "" || ns.Deposed || !strings.Contains(ns.Fenced, "no proof") {
			t.Errorf("the look says %q, %+v", st.NewerLeader, ns)
		}
		if node, deposed := l.Deposed(t.Context(), l.w); deposed {
			t.Errorf("a guard believes %s", node)
		}
		<-time.After(time.Millisecond) // what was asked at the same instant counts as said now
		l.hosts["n2"].facts.Epoch = 9
		if st, _ := l.look(t); !st.Nodes["n2"].Deposed || st.NewerLeader == "" {
			t.Errorf("of one that proves it the look says %q, %+v", st.NewerLeader, st.Nodes["n2"])
		}
	})
}

func TestCloseEndsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t, 3)
		l.hosts["n1"].takes = time.Hour
		l.look(t)
		l.Close()
		if n := l.hosts["n1"].under.Load(); n != 0 {
			t.Errorf("%d questions are under way", n)
		}
		st, _ := l.look(t)
		if ns := st.Nodes["n1"]; ns.Reachable() || !strings.Contains(ns.Err, "canceled") {
			t.Errorf("a look after the end says %+v", ns)
		}
	})
}

func (*slowEtcd) Usage(context.Context, etcd.Endpoint, []string) ([]cluster.PrefixUsage, error) {
	return nil, nil
}

func (*slowEtcd) Hashes(context.Context, []cluster.Member, []cluster.Node) []cluster.MemberHash {
	return nil
}
