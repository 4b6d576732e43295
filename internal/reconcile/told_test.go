package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// newTold is a world in which it is on record that the machine of n1 is told to reboot.
func newTold(t *testing.T, epoch int64) *world {
	w := newWorld(t, 3, 3)
	for i := range w.wanted.Spec.Nodes {
		n := &w.wanted.Spec.Nodes[i]
		n.User = "root"
		w.hosts[n.Hostname].facts.Boot = "b1"
	}
	w.hosts["n1"].running(false)
	w.wanted.Drains = []cluster.Drain{{Node: "n1", By: "ada", At: time.Now(), Reboot: true}}
	w.wanted.Reboot = &cluster.Reboot{Nodes: []cluster.NodeName{"n1"}, By: "ada", At: time.Now(), Boot: "b1", Told: time.Now(), Epoch: epoch}
	return w
}

// That a machine is told to reboot is written down first. Killed in between, cke leaves
// a machine that nobody has told: whoever leads then tells it at once, and then as
// patiently as one that it has told itself.
func TestWhoTakesOverTellsTheMachineAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		epoch           int64         // of whoever wrote it down; the world's own is 0
		earliest, least time.Duration // when it is told, and when not again
	}{
		"another did":   {epoch: 7, earliest: 0, least: 20 * time.Second},
		"it did itself": {epoch: 0, earliest: 20 * time.Second, least: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTold(t, c.epoch)
				_, end := w.begin(t)
				defer end()
				told := func() bool { return w.hosts["n1"].calls["reboot"] > 0 }
				pass(c.earliest)
				if w.calls("n1", "reboot") > 0 {
					t.Fatal("it is told while it may be about to go")
				}
				w.until(t, c.earliest+2*time.Second, "tell the machine", told)
				pass(c.least)
				if n := w.calls("n1", "reboot"); n != 1 {
					t.Errorf("it was told %d times", n)
				}
				w.do(func() {
					if r := w.wanted.Reboot; r.Epoch != 0 || time.Since(r.Told) > time.Minute {
						t.Errorf("on record is %+v", r)
					}
				})
				w.do(func() { w.hosts["n1"].facts.Boot = "b2" })
				w.until(t, time.Minute, "start the member of the machine that is back", func() bool { return w.hosts["n1"].facts.Unit.Running })
				if rs := w.begun(plan.RebootMachine); len(rs) != 1 {
					t.Errorf("%d records of it", len(rs))
				}
			})
		})
	}
}

// A machine that answers and does not go, however often it is told, is a person's to
// look at.
func TestAMachineThatNeverGoesIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTold(t, 0)
		l, end := w.begin(t)
		defer end()
		shown := func() plan.Reason {
			v, _ := l.View()
			for _, r := range v.Plan.Reasons {
				if r.Node == "n1" && r.Level != plan.Note && (r.Rule == "machineIsRebooting" || r.Rule == "machineDidNotComeBack") {
					return r
				}
			}
			return plan.Reason{}
		}
		pass(9 * time.Minute)
		if r := shown(); r.Rule != "machineIsRebooting" || w.calls("n1", "reboot") < 2 {
			t.Errorf("after nine minutes, told %d times: %+v", w.calls("n1", "reboot"), r)
		}
		pass(2 * time.Minute)
		if r := shown(); r.Rule != "machineDidNotComeBack" || r.Level != plan.Blocked || r.Hint == "" {
			t.Errorf("after eleven minutes: %+v", r)
		}
	})
}
