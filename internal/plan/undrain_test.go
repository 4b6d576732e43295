package plan

import (
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
)

// What a person drained a person undrains, whatever is to be rebooted: the reboot
// waits for that. Only while its machine may go at any moment it is not started.
func TestWhoEndsADrain(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	r := &cluster.Reboot{Nodes: []cluster.NodeName{"cp1", "cp2", "cp3"}, Done: []cluster.NodeName{"cp1"}}
	told := func(ago time.Duration) *cluster.Reboot {
		to := *r
		to.Boot, to.Told = "b1", now.Add(-ago)
		return &to
	}
	for _, c := range []struct {
		reboot  *cluster.Reboot
		drain   cluster.Drain
		refused bool
	}{
		{r, cluster.Drain{Node: "cp2", Reboot: true}, true},
		{r, cluster.Drain{Node: "cp2"}, false},
		{r, cluster.Drain{Node: "cp1", Reboot: true}, false},
		{r, cluster.Drain{Node: "cp4", Reboot: true}, false},
		{nil, cluster.Drain{Node: "cp2", Reboot: true}, false},
		{told(5 * time.Second), cluster.Drain{Node: "cp2"}, true},
		{told(5 * time.Second), cluster.Drain{Node: "cp3"}, false},
		{told(rebootAgain), cluster.Drain{Node: "cp2"}, false},
		{told(time.Hour), cluster.Drain{Node: "cp2", Reboot: true}, true},
	} {
		if why, hint := UndrainRefused(c.reboot, c.drain, now); (why != "") != c.refused || (hint != "") != c.refused {
			t.Errorf("%+v while %+v: %q, %q", c.drain, c.reboot, why, hint)
		}
	}
}

// A turn that ends without a reboot is on record as such.
func TestWhoIsNotRebootedIsSaid(t *testing.T) {
	founded := func(reboot, boot string) string {
		return "node cp1 10.0.0.1 remote\nnode cp2 10.0.0.2\nnode cp3 10.0.0.3 remote\nphase bootstrapped\nhealthy cp1 cp2 cp3\n" +
			"boot cp1 " + boot + "\nboot cp3 b2\nreboot " + reboot + "\n"
	}
	for _, c := range []struct {
		world   string
		skipped []cluster.NodeName
	}{
		{founded("cp1 told 60s", "b2"), nil},
		{founded("cp2 cp1", "b1"), []cluster.NodeName{"cp2"}},
		{founded("cp9", "b1"), []cluster.NodeName{"cp9"}},
	} {
		w := parseWorld(t, c.world)
		p := Decide(w.spec, w.st, w.now)
		i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Kind == FinishReboot })
		if i < 0 {
			t.Errorf("%sno turn ends:\n%s", c.world, p)
			continue
		}
		if got := p.Steps[i].Reboot.After(p.Steps[i].Nodes[0]); !slices.Equal(got.Skipped, c.skipped) || len(got.Done) != 1 {
			t.Errorf("%son record is then %+v", c.world, got)
		}
	}
}

// A host that does not say which boot it runs has not said that it was rebooted.
func TestAnUnknownBootIsNoReboot(t *testing.T) {
	w := parseWorld(t, "node cp1 10.0.0.1 remote\nnode cp2 10.0.0.2 remote\nnode cp3 10.0.0.3 remote\n"+
		"phase bootstrapped\nhealthy cp1 cp2 cp3\nboot cp2 b1\nboot cp3 b1\nreboot cp1 told 60s\n")
	if p := Decide(w.spec, w.st, w.now); len(p.Steps) != 0 {
		t.Errorf("the turn ends:\n%s", p)
	}
}
