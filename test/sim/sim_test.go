package sim

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func TestAWorldComesToRest(t *testing.T) {
	for name, o := range map[string]Options{
		"founded":   {Machines: 3, Founded: true},
		"new":       {Machines: 3},
		"one":       {Machines: 1},
		"published": {Machines: 5, Published: true, Systemd: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Trace = true
				w, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				w.Begin()
				pass(time.Minute)
				if why := w.Misplaced(); why != "" || len(w.Violations()) > 0 || !w.View().Plan.Settled() {
					t.Errorf("%s\n%v\n%s\n%s", why, w.Violations(), w, w.View().Plan)
					for _, l := range w.Trace() {
						t.Log(l)
					}
				}
				w.Close()
			})
		})
	}
}

// TestAPausedClusterIsLeftAlone, until it is resumed.
func TestAPausedClusterIsLeftAlone(t *testing.T) {
	var w *World
	var err error
	during, after := 0, ""
	synctest.Test(t, func(*testing.T) {
		if w, err = New(Options{Machines: 4, Founded: true}); err != nil {
			return
		}
		w.Begin()
		pass(time.Minute)
		before := w.Effects()
		for _, what := range []string{"pause", "kill n2", "spec nodes=n1,n2,n4 members=3", "user-add app"} {
			err = errors.Join(err, w.Happen(what))
		}
		pass(5 * time.Minute)
		during = w.Effects() - before
		err = errors.Join(err, w.Happen("unpause"))
		pass(2 * time.Minute)
		after = w.Misplaced()
		w.Close()
	})
	if err != nil || during != 0 || after != "" || len(w.Violations()) > 0 {
		t.Errorf("%d changes while it was paused; afterwards %q, %v, %v", during, after, w.Violations(), err)
	}
}

// TestOneSilentHostStopsNothingElse: what the others need is done, though one host
// answers nothing all the time.
func TestOneSilentHostStopsNothingElse(t *testing.T) {
	for _, silence := range []string{"silent", "refuses", "slow", "away", "crash", "fence"} {
		t.Run(silence, func(t *testing.T) {
			var w *World
			var err error
			started, access := false, ""
			synctest.Test(t, func(*testing.T) {
				if w, err = New(Options{Machines: 5, Founded: true}); err != nil {
					return
				}
				w.Begin()
				pass(time.Minute)
				err = w.Happen(silence + " n3")
				pass(time.Minute)
				err = errors.Join(err, w.Happen("kill n2"), w.Happen("user-add app"))
				pass(time.Minute)
				w.do(func() { started, access = w.machines["n2"].proc != nil, w.accessIsRight() })
				w.Close()
			})
			if err != nil || !started || access != "" || len(w.Violations()) > 0 {
				t.Errorf("n2 started: %v; %s; %v, %v\n%s", started, access, w.Violations(), err, w)
			}
		})
	}
}

// TestALearnerThatNeverStartsIsTakenBack, and its node given time before the next.
func TestALearnerThatNeverStartsIsTakenBack(t *testing.T) {
	var w *World
	var err error
	learners, voters, tries := -1, 0, 0
	synctest.Test(t, func(*testing.T) {
		h := history{machines: 4, wanted: "n1,n2,n3", replace: 20 * time.Second, flags: []string{"founded"}}
		authority, authorityErr := NewAuthority("main")
		if w, err = h.world(authority); err != nil || authorityErr != nil {
			err = errors.Join(err, authorityErr)
			return
		}
		w.Begin()
		pass(time.Minute)
		err = w.Happen("spec nodes=n1,n2,n3,n4")
		for range 60000 { // it is to find a full disk as soon as it is added
			pass(time.Millisecond)
			w.do(func() { learners = len(w.raft.agreed) - len(w.raft.agreed.voters()) })
			if learners > 0 {
				break
			}
		}
		err = errors.Join(err, w.Happen("fill n4"))
		pass(time.Minute)
		w.do(func() {
			if _, there := w.raft.agreed.find(0xc001); !there {
				learners = 0
			}
		})
		w.do(func() { voters, tries = len(w.raft.agreed.voters()), int(w.raft.lastID-0xc000) })
		w.Close()
	})
	if err != nil || learners != 0 || voters != 3 || tries == 0 || len(w.Violations()) > 0 {
		t.Errorf("%d learners beside %d voters after %d tries: %v, %v\n%s", learners, voters, tries, w.Violations(), err, w)
	}
}
