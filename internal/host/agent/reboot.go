package agent

import (
	"context"
	"errors"
	"fmt"

	"cke/internal/host"
)

// BootID is the kernel's own name for this boot of the machine this process runs on.
func BootID() (string, error) { return bootID() }

// reboot has systemd reboot the machine, unless a member runs or begins to.
func (a *Agent) reboot(ctx context.Context, id host.Identity, req host.Reboot) error {
	if req.Boot == "" {
		return invalid("no boot is named")
	}
	if err := a.admit(ctx, id); err != nil {
		return err
	}
	s, ok := a.runtime.(*services)
	if !ok {
		return refuse(host.NoReboot, "the members are processes of their own here: only a machine whose members systemd runs is rebooted")
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if boot != req.Boot {
		return refuse(host.NoReboot, "the machine runs boot %s, not %s", boot, req.Boot)
	}
	unlock, err := a.lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(a.stillAdmitted(id), a.noneRuns(ctx)); err != nil {
		return err
	}
	a.log.Info("reboot", "boot", boot)
	if err := s.bus.reboot(ctx); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// noneRuns refuses while any cluster's member runs.
func (a *Agent) noneRuns(ctx context.Context) error {
	clusters, err := a.Clusters()
	if err != nil {
		return err
	}
	for _, c := range clusters {
		u, installed, err := a.readUnit(c)
		if err != nil {
			return err
		}
		if !installed {
			continue
		}
		runs, err := a.runtime.runs(ctx, c, u.Member)
		if err != nil {
			return err
		}
		if runs {
			return refuse(host.StillRunning, "member %s of cluster %s runs", u.Member, c)
		}
	}
	return nil
}
