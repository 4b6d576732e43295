package sim

import (
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
