package sim

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestALearnerThatKeepsEndingDoesNotVote: whenever it runs it has caught up, and as a
// voter it would be one that cannot be relied on. Once it stays up it votes.
func TestALearnerThatKeepsEndingDoesNotVote(t *testing.T) {
	for _, flags := range [][]string{{"founded"}, {"founded", "systemd"}} {
		t.Run(flags[len(flags)-1], func(t *testing.T) {
			authority := bubbled(t)
			var w *World
			var err error
			most, after := 0, 0
			synctest.Test(t, func(*testing.T) {
				h := history{machines: 4, wanted: "n1,n2,n3", replace: 10 * time.Minute, flags: flags}
				if w, err = h.world(authority); err != nil {
					return
				}
				w.Begin()
				pass(time.Minute)
				err = errors.Join(w.Happen("crashes n4"), w.Happen("spec nodes=n1,n2,n3,n4"))
				for range 600 {
					pass(100 * time.Millisecond)
					w.do(func() { most = max(most, len(w.raft.agreed.voters())) })
				}
				err = errors.Join(err, w.Happen("runs n4"))
				pass(time.Minute)
				w.do(func() { after = len(w.raft.agreed.voters()) })
				w.Close()
			})
			if err != nil || most != 3 || after != 4 || len(w.Violations()) > 0 {
				t.Errorf("%d voters while it ended again and again, %d once it ran: %v, %v\n%s", most, after, w.Violations(), err, w)
				for _, l := range w.Trace() {
					t.Log(l)
				}
			}
		})
	}
}

// TestALearnerThatKeepsEndingIsTakenBack: it does not bar the others for ever; the next
// node gets the seat.
func TestALearnerThatKeepsEndingIsTakenBack(t *testing.T) {
	authority := bubbled(t)
	var w *World
	var err error
	votes := false
	synctest.Test(t, func(*testing.T) {
		h := history{machines: 5, wanted: "n1,n2,n3,n4,n5", members: 3, replace: 45 * time.Second, flags: []string{"founded"}}
		if w, err = h.world(authority); err != nil {
			return
		}
		w.Begin()
		pass(time.Minute)
		err = errors.Join(w.Happen("crashes n4"), w.Happen("spec members=4"))
		pass(5 * time.Minute)
		w.do(func() {
			votes = slices.ContainsFunc(w.raft.agreed.voters(), func(p peer) bool { return p.url == w.machines["n5"].peerURL })
		})
		w.Close()
	})
	if err != nil || !votes || len(w.Violations()) > 0 {
		t.Errorf("n5 votes: %v; %v, %v\n%s", votes, w.Violations(), err, w)
		for _, l := range w.Trace() {
			t.Log(l)
		}
	}
}
