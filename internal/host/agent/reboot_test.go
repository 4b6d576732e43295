package agent

import (
	"errors"
	"testing"

	"cke/internal/host"
)

// TestRebootIsRefused while a member runs, of another boot than the one that was
// asked for, and where systemd does not run the members. None of these tests
// reboots anything.
func TestRebootIsRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, u := open(t, b), t.Context(), b.founder()
		b.install(t, h, u)
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		f := facts(t, h, b)
		if f.Boot == "" {
			t.Fatal("the machine does not tell its boot")
		}
		why := host.NoReboot
		if onMachine() {
			why = host.StillRunning
		}
		wantGuard(t, h.Reboot(ctx, host.Reboot{Boot: f.Boot}), why)
		wantGuard(t, h.Reboot(ctx, host.Reboot{Boot: "another"}), host.NoReboot)
		var bad *host.InvalidError
		if err := h.Reboot(ctx, host.Reboot{}); !errors.As(err, &bad) {
			t.Errorf("a reboot of no boot: %v", err)
		}
		if f := facts(t, h, b); f.Unit == nil || !f.Unit.Running {
			t.Error("the member does not run any more")
		}
	})
}
