package lab

import (
	"bufio"
	_ "embed" // what runs a machine
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed boot.sh
var bootScript string

// What systemd as PID 1 does at these signals, counted from glibc's SIGRTMIN.
const (
	signalPowerOff = syscall.Signal(34 + 4)
	signalReboot   = syscall.Signal(34 + 5)
)

const (
	bootLimit = 2 * time.Minute // a boot takes a second, of twenty on a busy box half a minute
	offLimit  = 3 * time.Minute // units may be slow to stop; systemd kills them after 90 s
)

// On switches the machine on and waits until people can log in. One that is on,
// or starts again by itself, it only waits for.
func (m *Machine) On() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader() == 0 {
		// It may have switched itself off, or have started by half.
		if err := errors.Join(killGroup(m.name), m.afterOff(), m.start()); err != nil {
			return fmt.Errorf("switch %s on: %w", m.name, err)
		}
	}
	if err := m.waitUp(0); err != nil {
		return fmt.Errorf("switch %s on: %w\n%s", m.name, err, m.Console())
	}
	return nil
}

func (m *Machine) start() error {
	if err := plugIn(m.name, m.addr); err != nil {
		return err
	}
	if m.cut {
		if err := cable(m.name, "down"); err != nil {
			return err
		}
	}
	groups, err := makeGroup(m.name)
	if err != nil {
		return err
	}
	console, err := os.OpenFile(m.console(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the console: %w", err)
	}
	defer console.Close()
	args := append([]string{"-c", bootScript, "boot.sh", m.dir, m.image}, groups...)
	cmd := exec.Command("sh", append(append(args, "--"), m.nspawn()...)...)
	cmd.Stdout, cmd.Stderr = console, console
	// A session of its own: whoever started it may be interrupted, or end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS}
	// SYSTEMD_NSPAWN_API_VFS_WRITABLE=network leaves the box's other sysctls be.
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() //nolint:errcheck // its end is seen in the control group; this only buries it
	return nil
}

// nspawn is the command line that boots the machine.
func (m *Machine) nspawn() []string {
	args := []string{
		"systemd-nspawn", "--quiet", "--boot", "--directory=" + filepath.Join(m.dir, "root"),
		"--machine=" + netSpace(m.name), "--hostname=" + m.name,
		"--register=no", "--keep-unit", // there need be no systemd on the box
		"--network-namespace-path=" + filepath.Join(namespaces, netSpace(m.name)),
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
		"--kill-signal=SIGRTMIN+3",
		"--capability=CAP_NET_ADMIN,CAP_NET_RAW",
		"--drop-capability=CAP_SYS_TIME", // no namespace isolates the clock
	}
	if m.data != nil && !m.detached {
		args = append(args, "--bind="+filepath.Join(m.dir, "data")+":"+DataDir)
	}
	return args
}

// waitUp waits for the machine to be up with a PID 1 that is not this one.
func (m *Machine) waitUp(before int) error {
	return poll(bootLimit, m.name+" to boot", func() bool {
		pid := m.leader()
		if pid == 0 || pid == before {
			return false
		}
		// sshd listens before users may log in; until then there is this file.
		// It has to have been there, or it is too early to miss it.
		root := filepath.Join("/proc", strconv.Itoa(pid), "root/run")
		return exists(filepath.Join(root, "systemd/system")) && !exists(filepath.Join(root, "nologin")) &&
			exists(filepath.Join(root, "sshd.pid")) && (m.cut || m.answersSSH())
	})
}

// answersSSH says whether sshd greets.
func (m *Machine) answersSSH() bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(m.addr.String(), "22"), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "SSH-2.0-")
}

// Off shuts the machine down as an administrator would.
func (m *Machine) Off() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if pid := m.leader(); pid != 0 {
		if err := syscall.Kill(pid, signalPowerOff); err != nil {
			return fmt.Errorf("switch %s off: %w", m.name, err)
		}
		if err := waitGroupEmpty(m.name, offLimit); err != nil {
			return fmt.Errorf("switch %s off: %w", m.name, err)
		}
	}
	return m.afterOff()
}

// PowerCut takes the machine's power away: its peers hear nothing more, and
// what was not synced to its disks is gone. A machine without a disk of its own
// loses its processes only.
func (m *Machine) PowerCut() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := []error{unplug(m.name)}
	for _, d := range m.disks() {
		// A process that waits for a frozen disk cannot end, hence the thaw.
		errs = append(errs, ignoring(errNotMounted, errors.Join(d.shutdown(), d.thaw())))
	}
	errs = append(errs, killGroup(m.name), m.afterOff())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cut the power of %s: %w", m.name, err)
	}
	return nil
}

// afterOff puts away what a machine needs only while it is on, and makes sure
// that its disks are out of use.
func (m *Machine) afterOff() error {
	return errors.Join(unplug(m.name), freeLoops(m.dir), removeGroup(m.name))
}

// Reboot starts the machine again in good order and waits until it is up.
func (m *Machine) Reboot() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	pid := m.leader()
	if pid == 0 {
		return fmt.Errorf("reboot %s: it is off", m.name)
	}
	if err := syscall.Kill(pid, signalReboot); err != nil {
		return fmt.Errorf("reboot %s: %w", m.name, err)
	}
	if err := m.waitUp(pid); err != nil {
		return fmt.Errorf("reboot %s: %w\n%s", m.name, err, m.Console())
	}
	return nil
}

// IsOn says whether the machine runs.
func (m *Machine) IsOn() bool { return m.leader() != 0 }

// leader is the box's number for the machine's PID 1, 0 when it is off. systemd
// is alone in its init.scope, and nspawn has made it a group named payload.
func (m *Machine) leader() int {
	text, err := os.ReadFile(filepath.Join(unifiedRoot(), labGroup, m.name, "payload/init.scope/cgroup.procs"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return processID(first)
}
