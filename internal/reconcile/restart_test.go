package reconcile

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/host"
	"cke/internal/plan"
)

// A restart that fails because no unit can be installed is spaced out, shown and told
// by one record, as any step that fails.
func TestARestartWithoutItsUnitIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		l, end := w.begin(t)
		defer end()
		settle(t, w, l)
		told := 0
		w.do(func() {
			told = len(w.records)
			for _, h := range w.hosts {
				h.takes, h.unitless = 200*time.Millisecond, &host.RemoteError{Message: "reload units: connection timed out"}
			}
			w.wanted.Spec.Etcd.Quota = 4 << 30
		})
		l.Wake()
		pass(2 * time.Minute)
		v, _ := l.View()
		if !slices.ContainsFunc(v.Plan.Reasons, func(r plan.Reason) bool { return r.Rule == "stepKeepsFailing" }) {
			t.Errorf("nobody is told:\n%s", v.Plan)
		}
		w.do(func() {
			if n := len(w.records) - told; n != 1 {
				t.Errorf("%d records", n)
			}
		})
	})
}
