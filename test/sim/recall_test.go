package sim

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// TestWhoIsWantedAgainWhileItIsStoppedStays: a slow host takes its time to stop a member
// that is to be removed, and meanwhile the spec wants it again. It is the same member that
// serves afterwards.
func TestWhoIsWantedAgainWhileItIsStoppedStays(t *testing.T) {
	authority := bubbled(t)
	for name, slow := range map[string]time.Duration{"for a moment": time.Second, "for long": 8 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var w *World
			var err error
			var before, after cluster.MemberID
			var why string
			stopped := false
			synctest.Test(t, func(*testing.T) {
				h := history{machines: 4, wanted: "n1,n2,n3,n4", replace: 45 * time.Second, flags: []string{"founded", "systemd", "gateways"}}
				if w, err = h.world(authority); err != nil {
					return
				}
				w.Begin()
				pass(time.Minute)
				w.do(func() { before = w.memberAt("n3") })
				err = w.Happen("spec nodes=n1,n2,n4")
				stopping := func() (is bool) {
					w.do(func() { is = w.isBegun(plan.RemoveMember) })
					return is
				}
				for range 60000 {
					if stopping() {
						break
					}
					pass(100 * time.Microsecond)
				}
				w.do(func() { w.machines["n3"].slow = slow })
				pass(slow / 4)
				err = errors.Join(err, w.Happen("spec nodes=n1,n2,n3,n4"))
				pass(20 * time.Second)
				w.do(func() { w.machines["n3"].slow = 0 })
				pass(2 * time.Minute)
				w.do(func() { after = w.memberAt("n3") })
				why = w.Misplaced()
				w.Close()
			})
			for _, line := range w.Trace() {
				stopped = stopped || strings.Contains(line, ": stop "+before.String()+" on n3: done")
			}
			if err != nil || before == 0 || !stopped || after != before || why != "" || len(w.Violations()) > 0 {
				t.Errorf("member %s was stopped: %v; afterwards it is %s; %s %v %v\n%s", before, stopped, after, why, w.Violations(), err, strings.Join(w.Trace(), "\n"))
			}
		})
	}
}

// memberAt is who is on a machine as agreed, 0 for nobody.
func (w *World) memberAt(n cluster.NodeName) cluster.MemberID {
	for _, p := range w.raft.agreed {
		if p.url == w.machines[n].peerURL {
			return p.id
		}
	}
	return 0
}

// isBegun: a step of this kind is on record as begun, and not over.
func (w *World) isBegun(k plan.Kind) bool {
	for _, r := range w.shelf.records {
		if r.Step != nil && r.Step.Kind == k && r.Outcome == record.Started {
			return true
		}
	}
	return false
}
