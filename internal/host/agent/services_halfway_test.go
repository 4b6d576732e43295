//go:build machine

package agent

import (
	"syscall"
	"testing"

	"cke/internal/host"
)

// Killed between systemd's file and its own, a host tells so, and the old unit can be
// had back.
func TestAHalfInstalledServiceIsToldOf(t *testing.T) {
	b, h, u := started(t)
	u.Founding = nil
	must(t, h.InstallUnit(t.Context(), u))
	if f := facts(t, h, b); f.Unit.Unfinished {
		t.Errorf("installed: %+v", f.Unit)
	}
	half := u
	half.Quota++
	must(t, b.agent().runtime.install(t.Context(), half, true))
	if f := facts(t, h, b); !f.Unit.Unfinished || !f.Unit.Unit.Equal(u) {
		t.Errorf("half installed: %+v", f.Unit)
	}
	must(t, h.InstallUnit(t.Context(), u))
	if f := facts(t, h, b); f.Unit.Unfinished || !f.Unit.Unit.Equal(u) {
		t.Errorf("mended: %+v", f.Unit)
	}
}

// How often systemd has started a member again its host tells, until the member is
// stopped.
func TestStartsOfSystemdAreCounted(t *testing.T) {
	b, h, u := started(t)
	for range 2 {
		pid := show(t, "MainPID")
		must(t, syscall.Kill(atoi(t, pid), syscall.SIGKILL))
		eventually(t, "another process", func() bool { now := show(t, "MainPID"); return now != "0" && now != pid })
	}
	if f := facts(t, h, b); f.Unit.Restarts != 2 || f.Unit.Ends() != 2 {
		t.Errorf("started again twice: %+v", f.Unit)
	}
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	if f := facts(t, h, b); f.Unit.Restarts != 0 {
		t.Errorf("stopped and started: %+v", f.Unit)
	}
}
