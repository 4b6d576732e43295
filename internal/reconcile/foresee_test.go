package reconcile

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/host"
	"cke/internal/plan"
)

// The plan that is asked for says of a step that fails what the status says.
func TestThePlanSaysWhichStepsFail(t *testing.T) {
	for rule, failure := range map[string]error{
		"stepKeepsFailing": errors.New("bad weather"),
		"hostRefuses":      &host.GuardError{Kind: host.NoSpace, Reason: "no room"},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3, 3)
				l, end := w.begin(t)
				defer end()
				settle(t, w, l)
				w.do(func() { w.hosts["n2"].full = failure; w.hosts["n2"].running(false) })
				pass(time.Minute)
				p, err := l.Foresee(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				v, _ := l.View()
				for what, shown := range map[string]plan.Plan{"plan": p, "status": v.Plan} {
					if !slices.ContainsFunc(shown.Reasons, func(r plan.Reason) bool { return r.Rule == rule && r.Node == "n2" }) {
						t.Errorf("the %s does not say %s:\n%s", what, rule, shown)
					}
				}
			})
		})
	}
}
