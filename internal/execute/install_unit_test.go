package execute

import (
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// What was half installed is installed once more, though the host's own file says that
// it is there; what is there is left alone.
func TestAHalfInstalledUnitIsInstalledAgain(t *testing.T) {
	for what, unfinished := range map[string]bool{"whole": false, "half": true} {
		t.Run(what, func(t *testing.T) {
			c := newThree(t)
			c.x.o.Hosts = pickyHosts{c, nil}
			u := cluster.Unit{Cluster: "main", Node: "cp2", Member: 2, Version: "3.7.3", Quota: 1 << 30}
			c.on = cluster.UnitState{Unit: u, Sealed: true, Running: true, Started: &u, Unfinished: unfinished}
			err := c.run(t.Context(), plan.Step{Kind: plan.InstallUnits, Nodes: []cluster.NodeName{"cp2"}, Units: []cluster.Unit{u}})
			if err != nil || unfinished != (len(c.did) == 1 && c.did[0] == HostInstallUnit) {
				t.Errorf("%v: it did %v", err, c.did)
			}
		})
	}
}
