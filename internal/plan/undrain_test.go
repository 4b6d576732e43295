package plan

import (
	"testing"

	"cke/internal/cluster"
)

// What a person drained a person undrains, whatever is to be rebooted: the reboot
// waits for that.
func TestWhoEndsADrain(t *testing.T) {
	r := &cluster.Reboot{Nodes: []cluster.NodeName{"cp1", "cp2"}, Done: []cluster.NodeName{"cp1"}}
	for _, c := range []struct {
		reboot  *cluster.Reboot
		drain   cluster.Drain
		refused bool
	}{
		{r, cluster.Drain{Node: "cp2", Reboot: true}, true},
		{r, cluster.Drain{Node: "cp2"}, false},
		{r, cluster.Drain{Node: "cp1", Reboot: true}, false},
		{r, cluster.Drain{Node: "cp3", Reboot: true}, false},
		{nil, cluster.Drain{Node: "cp2", Reboot: true}, false},
	} {
		if why, _ := UndrainRefused(c.reboot, c.drain); (why != "") != c.refused {
			t.Errorf("%+v while %+v: %q", c.drain, c.reboot, why)
		}
	}
}
