package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// enter puts itself into the machine's control groups, so that what stalls or
// slows the machine reaches the command too, gives up what the machine may not
// do, and goes into the machine. Namespaces alone would leave root of the box
// what it may: setting the box's clock, for one.
const enter = `pid=$1 drop=$2; shift 2
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done
shift; exec setpriv --bounding-set "$drop" --inh-caps "$drop" nsenter --target "$pid" --all -- "$@"`

// Exec runs a command on the machine as root, without the network, and returns
// its standard output. It returns when ctx ends, even if the command hangs in
// the kernel.
func (m *Machine) Exec(ctx context.Context, command ...string) (string, error) {
	return m.ExecInput(ctx, "", command...)
}

// ExecInput is Exec with this standard input.
func (m *Machine) ExecInput(ctx context.Context, input string, command ...string) (string, error) {
	pid := m.leader()
	if pid == 0 {
		return "", fmt.Errorf("run %s on %s: the machine is off", command[0], m.name)
	}
	drop, err := withheld(pid)
	if err != nil {
		return "", fmt.Errorf("run %s on %s: %w", command[0], m.name, err)
	}
	args := []string{"-c", enter, "enter", strconv.Itoa(pid), drop}
	for _, root := range hierarchies() {
		args = append(args, filepath.Join(root, labGroup, m.name))
	}
	cmd := exec.Command("sh", append(append(args, "--"), command...)...)
	out, err := bounded(ctx, cmd, input)
	if err != nil {
		return out, fmt.Errorf("run %s on %s: %w", strings.Join(command, " "), m.name, err)
	}
	return out, nil
}

// withheld are the capabilities that this process has and another has not, as
// setpriv(1) drops them. CAP_SYS_TIME is always among them.
func withheld(pid int) (string, error) {
	own, err := bounding("self")
	if err != nil {
		return "", err
	}
	other, err := bounding(strconv.Itoa(pid))
	if err != nil {
		return "", err
	}
	drop := []string{"-sys_time"}
	for n := range 64 {
		if bit := uint64(1) << n; own&bit != 0 && other&bit == 0 {
			drop = append(drop, fmt.Sprintf("-cap_%d", n))
		}
	}
	return strings.Join(drop, ","), nil
}

// bounding is a process's capability bounding set.
func bounding(pid string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	_, after, _ := strings.Cut(string(text), "\nCapBnd:\t")
	hex, _, _ := strings.Cut(after, "\n")
	set, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return set, nil
}

// bounded runs cmd until ctx ends. exec.CommandContext kills too, but then waits
// for a process that, blocked on a frozen disk, does not die.
func bounded(ctx context.Context, cmd *exec.Cmd, input string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return stdout.String(), withStderr(err, stderr.String())
	case <-ctx.Done():
	}
	killed := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	grace := time.NewTimer(2 * time.Second)
	defer grace.Stop()
	select {
	case <-ended: //nolint:errcheck // ended by the kill; ctx says why
		return stdout.String(), withStderr(ctx.Err(), stderr.String())
	case <-grace.C: // its buffers are still its own
		return "", errors.Join(ctx.Err(), killed)
	}
}

func withStderr(err error, stderr string) error {
	if said := strings.TrimSpace(stderr); err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// ReadFile reads a file of the machine.
func (m *Machine) ReadFile(ctx context.Context, path string) ([]byte, error) {
	out, err := m.Exec(ctx, "cat", path)
	return []byte(out), err
}

// WriteFile writes a file of the machine, owned by root, with this mode (octal,
// such as "0644"). It is not synced.
func (m *Machine) WriteFile(ctx context.Context, path string, data []byte, mode string) error {
	_, err := m.ExecInput(ctx, string(data), "sh", "-c", `umask 077; cat >"$1" && chmod "$2" "$1"`, "write", path, mode)
	return err
}
