package kube

import (
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// goesOnWhileAllAreRestarted has every member restarted for a flag, and then for
// the newer line of etcd, under a load on the API server: each member's endpoint is
// withdrawn before it stops, and leadership moves once in each change.
func (e *env) goesOnWhileAllAreRestarted(whole *env) {
	l := e.startLoad(e.Connect(e.RootCert(), e.addrs(1, 2, 3)...))
	e.Eventually("the load runs", l.hasMade(100))
	flag := `, extra_args: {max-request-bytes: "2000000"}`
	for _, etcd := range []string{e.etcd + flag, ", version: " + cluster.DefaultVersion + flag} {
		moves, restarts := l.moved(), len(e.restarts())
		e.etcd, whole.etcd = etcd, etcd
		began := time.Now()
		e.Set(e.withGateway(1, 2, 3))
		e.t.Logf("the change took %s", time.Since(began).Round(10*time.Millisecond))
		before := l.made()
		e.Eventually("the load goes on", l.hasMade(before+100))
		// One of the members' own, when the machine stood still, may cost CKE another.
		if n := l.moved() - moves; n > 1 && l.still.Longest(began) < time.Second {
			e.t.Errorf("leadership moved %d times in one change", n)
		}
		if n := len(e.restarts()) - restarts; n != 3 {
			e.t.Errorf("%d members were restarted, want three", n)
		}
	}
	l.finish(e.t, 400)
	e.NeverBelowQuorum()
	e.wereWithdrawn()
}

// moved is how often leadership has moved, but for when the machine stood still: then the
// members elect a leader themselves.
func (l *load) moved() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, m := range l.moves {
		if !l.still.Near(m.from, m.to) {
			n++
		}
	}
	return n
}

func (e *env) restarts() []record.Record {
	e.t.Helper()
	return slices.DeleteFunc(e.History(), func(r record.Record) bool {
		return r.Step == nil || r.Step.Kind != plan.RestartMember || r.Outcome != record.Done
	})
}

// wereWithdrawn checks that before each restart the gateway was told to send
// nobody to that member any more, and that it had no connection there.
func (e *env) wereWithdrawn() {
	e.t.Helper()
	draining := cluster.NodeName("")
	for _, r := range e.History() {
		switch {
		case r.Step == nil || r.Outcome != record.Done:
		case r.Step.Kind == plan.PutGateway:
			draining = ""
			for _, u := range r.Step.Gateway.Upstreams {
				if u.Draining {
					draining = u.Node
				}
			}
		case r.Step.Kind == plan.RestartMember:
			if r.Step.Nodes[0] != draining || strings.Contains(r.Step.Reason, "still sent there") {
				e.t.Errorf("the gateway sent clients to everybody but %q when this began: %s", draining, r)
			}
		}
	}
}
