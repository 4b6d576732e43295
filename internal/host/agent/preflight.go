package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// preflight measures what decides whether a member would live here. What cannot
// be measured is said, and the rest goes on.
func (a *Agent) preflight(ctx context.Context, req host.FactsRequest) (cluster.Machine, error) {
	m := cluster.Machine{Clock: a.now()}
	if err := checkCluster(req.Cluster); err != nil {
		return m, err
	}
	if err := checkAddress(req.Address); err != nil {
		return m, err
	}
	if err := a.measure(ctx, req, &m); err != nil {
		return m, fmt.Errorf("preflight: %w", err)
	}
	fsync, err := probeFsync(ctx, a.layout.dataRoot())
	if err != nil {
		m.FsyncErr = err.Error()
	}
	m.Fsync = fsync
	m.Took = a.now().Sub(m.Clock)
	return m, ctx.Err()
}

// measure is all but the disk's speed.
func (a *Agent) measure(ctx context.Context, req host.FactsRequest, m *cluster.Machine) (err error) {
	var f host.Facts
	if err := a.unitFacts(ctx, req, &f); err != nil {
		return err
	}
	if err := a.portFacts(ctx, req, &f); err != nil {
		return err
	}
	m.BusyPorts, m.Runs = f.BusyPorts, f.Unit != nil && f.Unit.Running
	if m.Own, err = ownAddress(req.Address); err != nil {
		return err
	}
	if m.Free, err = freeBytes(a.layout.dataRoot()); err != nil {
		return err
	}
	var names unix.Utsname
	if err = unix.Uname(&names); err != nil {
		return fmt.Errorf("read the kernel's release: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(names.Release[:])
	var info unix.Sysinfo_t
	if err = unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("read the memory's size: %w", err)
	}
	m.Memory = int64(info.Totalram) * int64(info.Unit)
	who := "1"
	m.Runtime = cluster.RuntimeSystemd
	if _, own := a.runtime.(*processes); own {
		m.Runtime, who = cluster.RuntimeProcess, "self" // members inherit this process's limits
	} else if m.Systemd, err = systemdVersion(ctx); err != nil {
		return err
	}
	m.OpenFiles, err = maxOpenFiles(who)
	return err
}

// ownAddress says whether an address can be listened on here; all of 127/8 can.
func ownAddress(a netip.Addr) (bool, error) {
	if a.IsLoopback() {
		return true, nil
	}
	have, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("list the machine's addresses: %w", err)
	}
	for _, h := range have {
		if p, err := netip.ParsePrefix(h.String()); err == nil && p.Addr() == a {
			return true, nil
		}
	}
	return false, nil
}

// systemdVersion is 0 when another init system runs (sd_booted(3)).
func systemdVersion(ctx context.Context) (int, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd, err := systemProgram(ctx, "systemctl", "--version")
	if err != nil {
		return 0, err
	}
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("run systemctl --version: %w", err)
	}
	return parseSystemd(string(out))
}

var systemdRE = regexp.MustCompile(`^systemd ([0-9]{1,6})\b`)

// parseSystemd reads "systemd 252 (252.36-1~deb12u1)".
func parseSystemd(out string) (int, error) {
	m := systemdRE.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("systemctl --version says %.80q", out)
	}
	return strconv.Atoi(m[1])
}

// maxOpenFiles is how many files a child of a process may have open: etcd takes
// what the hard limit allows.
func maxOpenFiles(pid string) (int64, error) {
	b, err := os.ReadFile("/proc/" + pid + "/limits")
	if err != nil {
		return 0, fmt.Errorf("read limits: %w", err)
	}
	return parseOpenFiles(string(b))
}

func parseOpenFiles(limits string) (int64, error) {
	const unlimited = 1 << 62
	for line := range strings.Lines(limits) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest) // soft, hard, unit
		if !ok || len(f) < 2 {
			continue
		}
		if f[1] == "unlimited" {
			return unlimited, nil
		}
		return strconv.ParseInt(f[1], 10, 64)
	}
	return 0, fmt.Errorf("read limits: no line of open files")
}
