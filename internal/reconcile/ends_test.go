package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A member that has ended four times in its life, and has served for long since, does
// not keep ending. One that has not served is told from it.
func TestWhoHasServedForLongDoesNotKeepEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		for _, h := range w.hosts {
			h.facts.Unit.Restarts = 4
		}
		w.hosts["n2"].running(false)
		w.hosts["n2"].full = errors.New("permission denied")
		l, end := w.begin(t)
		defer end()
		pass(time.Minute)
		before := func() (serves, not int) {
			v, _ := l.View()
			return v.State.Nodes["n0"].EndsBefore, v.State.Nodes["n2"].EndsBefore
		}
		if serves, not := before(); serves != 0 || not != 0 {
			t.Errorf("after a minute: %d and %d", serves, not)
		}
		pass(15 * time.Minute)
		if serves, not := before(); serves != 4 || not != 0 {
			t.Errorf("after a quarter of an hour: %d and %d, want 4 and 0", serves, not)
		}
	})
}
