package agent

import (
	"syscall"
	"testing"

	"cke/internal/host"
)

// A host tells how often it has started a member again, so that a cke that did not see
// it knows of it too. Other settings are another matter.
func TestStartsAreCounted(t *testing.T) {
	processOnly(t, "systemd counts by itself")
	t.Parallel()
	b := newBox(t)
	h, ctx, u := inProcess(t, b), t.Context(), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(ctx, u.Cluster, u.Member))
	for n := range 3 {
		if f := facts(t, h, b); !f.Unit.Running || f.Unit.Restarts != n || f.Unit.Ends() != n {
			t.Errorf("started again %d times: %+v", n, f.Unit)
		}
		must(t, syscall.Kill(b.etcds(t)[0], syscall.SIGKILL))
		must(t, h.WaitUnit(ctx, u.Cluster, true))
		if f := facts(t, h, b); f.Unit.Running || f.Unit.Restarts != n || f.Unit.Ends() != n+1 {
			t.Errorf("ended %d times: %+v", n+1, f.Unit)
		}
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
	}
	u.Founding = nil
	u.Quota++
	must(t, h.InstallUnit(ctx, u))
	if f := facts(t, h, b); f.Unit.Restarts != 0 {
		t.Errorf("with other settings it was never started, and the host tells of %d times", f.Unit.Restarts)
	}
	must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	must(t, h.StartUnit(ctx, u.Cluster, u.Member))
	if f := facts(t, h, b); !f.Unit.Running || f.Unit.Restarts != 0 {
		t.Errorf("with other settings it was started once: %+v", f.Unit)
	}
}
