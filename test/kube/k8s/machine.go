package k8s

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cke/test/lab"
)

// Where an API server's files are on a machine.
const (
	machineDir     = "/etc/kubernetes/plane"
	machineProgram = "/usr/local/bin/kube-apiserver"
	machineUnit    = "kube-apiserver.service"
)

// StartAPIServerOn starts one on a machine, which must have the plane's address,
// and waits until it is ready. e's paths are the machine's. It is ended with the
// machine.
func (p *Plane) StartAPIServerOn(ctx context.Context, m *lab.Machine, e Etcd) error {
	if m.Addr() != p.addr {
		return fmt.Errorf("start an API server on %s: its address is not the plane's, %s", m.Name(), p.addr)
	}
	if _, err := m.Exec(ctx, "mkdir", "-p", machineDir); err != nil {
		return err
	}
	for _, name := range []string{"ca.crt", "serving.crt", "serving.key", "tokens.key"} {
		if err := copyTo(ctx, m, filepath.Join(p.dir, name), filepath.Join(machineDir, name), "0600"); err != nil {
			return err
		}
	}
	if err := copyTo(ctx, m, filepath.Join(p.bin, "kube-apiserver"), machineProgram, "0755"); err != nil {
		return err
	}
	unit := []string{"systemd-run", "--unit=" + machineUnit, "--setenv=" + garbage, "--property=KillSignal=SIGKILL", machineProgram}
	if _, err := m.Exec(ctx, append(unit, p.apiServerFlags(machineDir, e)...)...); err != nil {
		return err
	}
	if err := p.Ready(ctx, nil); err != nil {
		log, logErr := m.Exec(ctx, "journalctl", "-u", machineUnit, "-n", "30", "-o", "cat")
		if logErr != nil {
			log = logErr.Error()
		}
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

func copyTo(ctx context.Context, m *lab.Machine, from, to, mode string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy to %s: %w", m.Name(), err)
	}
	return m.WriteFile(ctx, to, data, mode)
}
