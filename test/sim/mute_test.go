package sim

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// TestAMemberThatOnlyCKEDoesNotReachStays, however long that is and however short
// replace_after, and is replaced when it does not take part any more.
func TestAMemberThatOnlyCKEDoesNotReachStays(t *testing.T) {
	authority := bubbled(t)
	for _, replace := range []time.Duration{3 * time.Second, 20 * time.Second} {
		t.Run(replace.String(), func(t *testing.T) { staysThoughMute(t, authority, replace) })
	}
}

func staysThoughMute(t *testing.T, authority *Authority, replace time.Duration) {
	var w *World
	var err error
	var before, during, after []cluster.MemberID
	said := false
	synctest.Test(t, func(*testing.T) {
		h := history{machines: 4, wanted: "n1,n2,n3,n4", members: 3, replace: replace, flags: []string{"founded"}}
		if w, err = h.world(authority); err != nil {
			return
		}
		voters := func() (ids []cluster.MemberID) {
			w.do(func() {
				for _, p := range w.raft.agreed.voters() {
					ids = append(ids, p.id)
				}
			})
			return ids
		}
		w.Begin()
		pass(time.Minute)
		before = voters()
		w.do(func() { w.machines["n2"].mute = true })
		pass(5 * time.Minute)
		during = voters()
		said = slices.ContainsFunc(w.View().Plan.Reasons, func(r plan.Reason) bool { return r.Rule == "memberDoesNotAnswer" && r.Node == "n2" })
		err = w.Happen("isolate n2")
		pass(3 * time.Minute)
		after = voters()
		w.Close()
	})
	if err != nil || !slices.Equal(before, during) || !said || len(after) != 3 || slices.Equal(before, after) || len(w.Violations()) > 0 {
		t.Errorf("%v were the voters, then %v, then %v; it was said: %v; %v, %v", before, during, after, said, w.Violations(), err)
		for _, l := range w.Trace() {
			t.Log(l)
		}
	}
}

// TestAMemberThatOnlyCKEDoesNotReachIsRestartedInItsTurn: it may lead, and serves clients
// that nobody leads away.
func TestAMemberThatOnlyCKEDoesNotReachIsRestartedInItsTurn(t *testing.T) {
	authority := bubbled(t)
	var w *World
	var err error
	var meanwhile, after int
	synctest.Test(t, func(*testing.T) {
		h := history{machines: 3, wanted: "n1,n2,n3", members: 3, replace: 20 * time.Second, flags: []string{"founded"}}
		if w, err = h.world(authority); err != nil {
			return
		}
		edited := func() (n int) {
			w.do(func() {
				for _, m := range w.all() {
					if m.proc != nil && m.proc.unit.ExtraArgs[badFlag] == "10" {
						n++
					}
				}
			})
			return n
		}
		w.Begin()
		pass(time.Minute)
		w.do(func() { w.victim("leader").mute = true })
		pass(time.Minute)
		err = w.Happen("spec heartbeat=10")
		pass(2 * time.Minute)
		meanwhile = edited()
		w.do(func() {
			for _, m := range w.all() {
				m.mute = false
			}
		})
		pass(2 * time.Minute)
		after = edited()
		w.Close()
	})
	if err != nil || meanwhile != 0 || after != 3 || len(w.Violations()) > 0 {
		t.Errorf("%d members had other settings while one could not be asked, and %d then; %v, %v", meanwhile, after, w.Violations(), err)
		for _, l := range w.Trace() {
			t.Log(l)
		}
	}
}
