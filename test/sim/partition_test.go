package sim

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoReachesTheLesserSideChangesNothing: the greater side has a leader and serves,
// and cke, which reaches only the others, stops nobody and takes nobody out. When it
// reaches all again it does what is wanted.
func TestWhoReachesTheLesserSideChangesNothing(t *testing.T) {
	for _, off := range []string{"n1,n2,n3", "n3,n4,n5"} { // with the leader, and without
		t.Run(off, func(t *testing.T) {
			var w *World
			var err error
			during, serves, after := 0, false, ""
			synctest.Test(t, func(*testing.T) {
				if w, err = New(Options{Machines: 6, Founded: true, Systemd: true, Trace: true}); err != nil {
					return
				}
				w.Begin()
				err = w.Happen("spec nodes=n1,n2,n3,n4,n5 members=5")
				pass(2 * time.Minute)
				err = errors.Join(err, w.Happen("part-off "+off))
				pass(20 * time.Second)
				before := w.Effects()
				err = errors.Join(err, w.Happen("spec nodes=n1,n2,n3,n4,n6 members=5"), w.Happen("spec quota=9"))
				pass(5 * time.Minute)
				during = w.Effects() - before
				w.do(func() { serves = w.serving() })
				err = errors.Join(err, w.Happen("heal"))
				pass(5 * time.Minute)
				after = w.Misplaced()
				w.Close()
			})
			if err != nil || during != 0 || !serves || after != "" || len(w.Violations()) > 0 {
				t.Errorf("%d changes; the greater side serves: %v; afterwards %q, %v, %v", during, serves, after, w.Violations(), err)
				for _, l := range w.Trace() {
					t.Log(l)
				}
			}
		})
	}
}
