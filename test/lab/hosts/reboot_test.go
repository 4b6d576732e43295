package hosts

import (
	"fmt"
	"testing"

	"cke/internal/api"
	"cke/internal/plan"
	"cke/test/lab"
)

// TestRebootMachines drains a machine and puts it back, and then has all three
// rebooted one after another while a tenant writes, with cke killed in the midst of
// the first: the next one goes on with it.
func TestRebootMachines(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3}, lab.DataDisk("1G"))
	w := e.tenant(false, 1, 2, 3)
	w.Wrote(50)
	h1, h2 := string(e.name(1)), string(e.name(2))
	e.CLI("node", "drain", h1, "--why", "a new fan")
	if pid := e.mainPID(1); pid != "0" {
		t.Errorf("the member on %s runs: pid %s", h1, pid)
	}
	e.CLIFails(3, []string{"node", "reboot", h2}, h1+" is drained already")
	e.CLI("node", "undrain", h1)
	w.Wrote(50)

	before := e.boots()
	r, err := e.Client().RebootNodes(e.ctx(), "main", api.RebootRequest{Nodes: []string{h1, h2, string(e.name(3))}, Why: "new kernel"})
	if err != nil {
		t.Fatal(err)
	}
	e.CLIFails(3, []string{"node", "reboot", h2}, "are being rebooted already")
	e.Until("the first machine is told", func(s api.Status) error {
		if s.Reboot == nil || s.Reboot.Boot == "" {
			return fmt.Errorf("it is at %+v", s.Reboot)
		}
		return nil
	})
	e.Kill()
	e.Start()
	e.Until("all are rebooted", func(s api.Status) error {
		if s.Reboot != nil || !s.Settled {
			return fmt.Errorf("it is at %+v of %v", s.Reboot, r.Nodes)
		}
		return nil
	})
	after := e.boots()
	for i := range before {
		if before[i] == after[i] {
			t.Errorf("%s was not rebooted", e.name(i+1))
		}
	}
	w.Wrote(50)
	w.Finish(200)
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	e.NeverBelowQuorum()
	if n := e.CountSteps(plan.RemoveMember); n != 0 {
		t.Errorf("%d members were removed", n)
	}
	if n := e.CountSteps(plan.FinishReboot); n != 3 {
		t.Errorf("%d turns were ended, want 3", n)
	}
}

// boots are the machines' boots, as their kernels name them.
func (e *env) boots() []string {
	e.t.Helper()
	var ids []string
	for i := 1; i <= 3; i++ {
		ids = append(ids, e.sh(i, "cat /proc/sys/kernel/random/boot_id"))
	}
	return ids
}
