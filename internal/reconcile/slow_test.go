package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// settle lets the loop come to rest.
func settle(t *testing.T, w *world, l *Loop) {
	t.Helper()
	defer func() {
		if v, _ := l.View(); t.Failed() {
			t.Logf("it rests at %v, running %v", v.Plan, v.Running)
		}
	}()
	w.until(t, 2*time.Minute, "come to rest", func() bool {
		v, _ := l.View()
		return v.Seq > 0 && v.Plan.Settled() && len(v.Running) == 0
	})
}

// TestSlowHostDoesNotSlowTheOthers: every call to one host takes 5 s. What the
// others need is done within a second, and it gets what it needs as well.
func TestSlowHostDoesNotSlowTheOthers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		others func(*world) bool
		itself func(*world) bool
		within time.Duration // for the slow one
	}{
		{
			"a stopped member is started",
			func(w *world) { w.hosts["n0"].running(false); w.hosts["n2"].running(false) },
			func(w *world) bool { return w.hosts["n0"].facts.Unit.Running },
			func(w *world) bool { return w.hosts["n2"].facts.Unit.Running },
			25 * time.Second,
		},
		{
			"units are changed",
			func(w *world) { w.moveGateways() },
			func(w *world) bool {
				return w.hosts["n0"].hasMoved() && w.hosts["n1"].hasMoved()
			},
			func(w *world) bool { return w.hosts["n2"].hasMoved() },
			15 * time.Second,
		},
		{
			"units are changed and a stopped member is started",
			func(w *world) { w.moveGateways(); w.hosts["n0"].running(false) },
			func(w *world) bool {
				return w.hosts["n0"].facts.Unit.Running && w.hosts["n0"].hasMoved()
			},
			func(w *world) bool { return w.hosts["n2"].hasMoved() },
			15 * time.Second,
		},
		{
			"a member is added elsewhere while its unit is changed",
			func(w *world) { w.wanted.Spec.Etcd.Members = 4; w.moveGateways() },
			func(w *world) bool {
				return len(w.members) == 4 && !w.members[3].Learner && w.hosts["n3"].facts.Unit.Running
			},
			func(w *world) bool { return w.hosts["n2"].hasMoved() },
			15 * time.Second,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4, 3).haveGateways()
				w.hosts["n2"].takes = 5 * time.Second
				l, end := w.begin(t)
				settle(t, w, l)
				pass(time.Minute)
				began := time.Now()
				w.do(func() { c.change(w) })
				l.Wake()
				others := w.until(t, time.Second, "the others", func() bool { return c.others(w) })
				w.until(t, c.within, "the slow one", func() bool { return c.itself(w) })
				t.Logf("the others after %s, the slow one after %s", others, time.Since(began))
				settle(t, w, l)
				end()
				for _, r := range w.records {
					if r.Outcome != record.Done {
						t.Errorf("%s %v: %s %s", r.What(), r.Step.Nodes, r.Outcome, r.Error)
					}
				}
				for verb, n := range w.hosts["n2"].calls {
					if n > 1 && (verb == "install-unit" || verb == "start-unit" || verb == "put-files") {
						t.Errorf("%s was called %d times on the slow host", verb, n)
					}
				}
			})
		})
	}
}

// TestHostThatHangs: nothing is done to the member of a host that does not
// answer, everything else goes on, and the loop does not spin on it.
func TestHostThatHangs(t *testing.T) {
	for name, change := range map[string]func(*fakeHost){
		"silent":  func(h *fakeHost) { h.takes = time.Hour },
		"refuses": func(h *fakeHost) { h.down = errors.New("dial 10.0.0.3:22: connection refused") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4, 3)
				l, end := w.begin(t)
				settle(t, w, l)
				w.do(func() { change(w.hosts["n2"]) })
				pass(time.Minute)
				v, _ := l.View()
				if ns := v.State.Nodes["n2"]; ns.Reachable() || ns.Awaited || time.Since(ns.UnreachableSince) < 30*time.Second {
					t.Errorf("the host is shown as %+v", ns)
				}
				w.do(func() { w.hosts["n0"].running(false) })
				took := w.until(t, time.Second, "start the member of another host", func() bool { return w.hosts["n0"].facts.Unit.Running })
				loads := w.looks()
				pass(10 * time.Minute)
				w.mu.Lock()
				if got := w.loads - loads; got > 150 {
					t.Errorf("the loop looked %d times in ten minutes", got)
				}
				if len(w.members) != 3 || w.members[2].ID != 3 {
					t.Errorf("members %+v", w.members)
				}
				w.mu.Unlock()
				t.Logf("started after %s", took)
				end()
			})
		})
	}
}

// TestSlowStepIsBegunOnce: while a step goes on the loop looks, shows it, begins
// it no second time and does not spin.
func TestSlowStepIsBegunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3).haveGateways()
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() {
			w.hosts["n2"].takes = 8 * time.Second
			w.moveGateways()
		})
		loads := w.looks()
		l.Wake()
		pass(4 * time.Second)
		for range 3 {
			l.Wake()
			pass(time.Second)
		}
		v, _ := l.View()
		if len(v.Running) != 1 || v.Running[0].Kind != plan.PutGateway || len(v.Plan.Steps) != 0 {
			t.Errorf("running %v beside %v", v.Running, v.Plan)
		}
		settle(t, w, l)
		if rs := w.begun(plan.PutGateway); len(rs) != 2 || rs[1].Outcome != record.Done || w.calls("n2", "put-gateway") != 2 { // the first before
			t.Errorf("%d calls, records %+v", w.calls("n2", "put-gateway"), rs)
		}
		if n := w.looks() - loads; n > 60 {
			t.Errorf("the loop looked %d times", n)
		}
		end()
	})
}

// TestNodeIsFreeWhenItsPartIsDone: a step over several nodes holds only those
// that it still works on.
func TestNodeIsFreeWhenItsPartIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3).haveGateways()
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() {
			w.hosts["n2"].takes = 8 * time.Second
			w.moveGateways()
		})
		l.Wake()
		pass(2 * time.Second)
		w.do(func() { w.hosts["n0"].running(false) })
		w.until(t, 100*time.Millisecond, "start a member the step is done with", func() bool { return w.hosts["n0"].facts.Unit.Running })
		end()
	})
}

// TestRunEndsWithItsSteps: the loop returns only when the steps under way have,
// each with its outcome written.
func TestRunEndsWithItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3).haveGateways()
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() {
			w.hosts["n2"].takes, w.hosts["n2"].deaf = 8*time.Second, 3*time.Second
			w.moveGateways()
		})
		l.Wake()
		pass(10 * time.Second)                 // the step is within its change
		if w.calls("n2", "put-gateway") != 2 { // the first before
			t.Fatal("the step has not begun")
		}
		began := time.Now()
		end()
		if took := time.Since(began); took < 3*time.Second || w.hosts["n2"].under != 0 {
			t.Errorf("it ended after %s with %d calls under way", took, w.hosts["n2"].under)
		}
		if rs := w.begun(plan.PutGateway); len(rs) != 2 || rs[1].Outcome != record.Failed {
			t.Errorf("records %+v", rs)
		}
	})
}

// TestMembershipChangesOneAtATime, however long each takes and whatever else
// there is to do meanwhile.
func TestMembershipChangesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, 3)
		w.changing = 2 * time.Second
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() {
			gone := w.wanted.Spec.Nodes[0]
			w.wanted.Spec.Nodes = w.wanted.Spec.Nodes[1:]
			w.wanted.Leaving = []cluster.Node{gone}
			w.wanted.Spec.Etcd.Members = 5
		})
		l.Wake()
		pass(3 * time.Second)
		w.do(func() { w.hosts["n1"].running(false) })
		w.until(t, time.Second, "start a member meanwhile", func() bool { return w.hosts["n1"].facts.Unit.Running })
		settle(t, w, l)
		end()
		if len(w.members) != 5 || w.most != 1 {
			t.Errorf("%d members, at most %d changes at once", len(w.members), w.most)
		}
		for _, r := range w.records {
			if r.Outcome == record.Started {
				t.Errorf("%s has no outcome", r.What())
			}
		}
	})
}

// TestFailuresBesideASlowStep: a node that fails while another is slow is tried
// again at growing intervals, folded into one record.
func TestFailuresBesideASlowStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		settle(t, w, l)
		w.do(func() {
			w.hosts["n2"].takes = 5 * time.Second
			w.hosts["n0"].running(false)
			w.hosts["n0"].full = errors.New("no space left on device")
			w.moveGateways()
		})
		l.Wake()
		pass(5 * time.Minute)
		if n := len(w.begun(plan.StartMembers)); n > 3 {
			t.Errorf("%d records of starts", n)
		}
		if n := w.calls("n0", "start-unit"); n < 8 || n > 25 {
			t.Errorf("%d attempts in five minutes", n)
		}
		v, _ := l.View()
		if !v.Plan.Has(plan.Blocked) {
			t.Errorf("shown as %v", v.Plan)
		}
		end()
	})
}

// TestFoundingWithASlowHost: the founders start together, so it takes as long as
// the slowest of them needs, and nothing is done twice.
func TestFoundingWithASlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 0)
		w.wanted.Spec.Etcd.Members = 3
		w.wanted.Bootstrap = cluster.Bootstrap{}
		w.hosts["n2"].takes = 5 * time.Second
		l, end := w.begin(t)
		// It is heard, and then measured.
		w.until(t, 20*time.Second, "hear every host", func() bool { return w.wanted.Bootstrap.Phase == cluster.PhaseBootstrapping })
		settle(t, w, l)
		w.do(func() {
			if w.wanted.Bootstrap.Phase != cluster.PhaseBootstrapped || len(w.wanted.Bootstrap.Founders) != 3 {
				t.Errorf("%+v", w.wanted.Bootstrap)
			}
			if took := time.Since(w.records[0].At); took > time.Minute {
				t.Errorf("founded %s after it was recorded", took)
			}
		})
		end()
		for verb, n := range w.hosts["n2"].calls {
			// A unit loses its founding part once its member is sealed.
			if most := map[string]int{"put-files": 1, "install-unit": 2, "start-unit": 1}[verb]; most > 0 && n > most {
				t.Errorf("%s was called %d times on the slow host", verb, n)
			}
		}
		for _, r := range w.records {
			if r.Outcome != record.Done {
				t.Errorf("%s %s %s", r.What(), r.Outcome, r.Error)
			}
		}
	})
}

// TestRefusalsBesideASlowStep: what etcd refuses for a while is tried until it
// does not, however long another step goes on meanwhile. An attempt that failed
// was not done.
func TestRefusalsBesideASlowStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, 3).haveGateways()
		w.hosts["n2"].takes = 14 * time.Second
		l, end := w.begin(t)
		settle(t, w, l)
		pass(time.Minute)
		w.do(func() {
			w.refuses = time.Now().Add(8 * time.Second)
			w.wanted.Spec.Etcd.Members = 4
			w.moveGateways()
		})
		l.Wake()
		w.until(t, 11*time.Second, "add a member", func() bool { return len(w.members) == 4 })
		settle(t, w, l)
		end()
	})
}
