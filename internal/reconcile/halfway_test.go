package reconcile

import (
	"testing"
	"testing/synctest"
)

// A unit that was half installed is installed once more, and that is all there is to do.
func TestAHalfInstalledUnitIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		defer end()
		settle(t, w, l)
		before := w.calls("n1", "install-unit")
		w.do(func() {
			half := *w.hosts["n1"].facts.Unit
			half.Unfinished = true
			w.hosts["n1"].facts.Unit = &half
		})
		l.o.Observer.Changed("n1")
		l.Wake()
		w.until(t, l.o.Interval, "install it", func() bool { return !w.hosts["n1"].facts.Unit.Unfinished })
		settle(t, w, l)
		if n := w.calls("n1", "install-unit") - before; n != 1 {
			t.Errorf("it was installed %d times", n)
		}
	})
}
