package lab

import (
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

// Stall stops everything on a machine at once, as a paused virtual machine is:
// its kernel still answers pings and accepts connections, nothing else happens.
func Stall(m *Machine) Fault {
	set := func(to string) func() error {
		return func() error {
			if m.leader() == 0 {
				return nil
			}
			file := filepath.Join(unifiedRoot(), labGroup, m.name, "cgroup.freeze")
			if err := os.WriteFile(file, []byte(to), 0o644); err != nil {
				return fmt.Errorf("stall %s: %w", m.name, err)
			}
			frozen := "frozen " + to
			return poll(time.Minute, m.name+" to be "+frozen, func() bool {
				events, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup.events"))
				return err == nil && strings.Contains(string(events), frozen)
			})
		}
	}
	return Fault{Name: "stall " + m.name, Break: set("1"), Heal: set("0")}
}

// SlowCPU gives a machine this percentage of one CPU.
func SlowCPU(m *Machine, percent int) Fault {
	const period = 100_000 // µs
	set := func(older, value string) func() error {
		return func() error {
			return setGroup(m.name, "cpu", "cpu.cfs_quota_us", "cpu.max", older, value)
		}
	}
	quota := strconv.Itoa(percent * period / 100)
	return Fault{
		Name:  fmt.Sprintf("leave %s %d %% of a CPU", m.name, percent),
		Break: set(quota, fmt.Sprintf("%s %d", quota, period)),
		Heal:  set("-1", "max"),
	}
}

// Kill ends, with SIGKILL, the machine's processes whose command line matches
// this extended regular expression. That there are none is an error.
func Kill(m *Machine, pattern string) Fault {
	return Fault{
		Name:  "kill " + pattern + " on " + m.name,
		Break: func() error { return m.Signal(pattern, syscall.SIGKILL) },
	}
}

// StallProcess stops such processes until it is healed; their machine goes on.
func StallProcess(m *Machine, pattern string) Fault {
	return Fault{
		Name:  "stop " + pattern + " on " + m.name,
		Break: func() error { return m.Signal(pattern, syscall.SIGSTOP) },
		Heal: func() error {
			err := m.Signal(pattern, syscall.SIGCONT)
			if !m.IsOn() {
				return nil // it was ended meanwhile, with its machine
			}
			return ignoring(ErrNoProcess, err)
		},
	}
}

// ErrNoProcess is that no process of a machine's is one that was asked for: it may be
// between two starts.
var ErrNoProcess = errors.New("no process matches")

// Signal sends a signal to the machine's processes whose command line matches.
// That there are none is ErrNoProcess.
func (m *Machine) Signal(pattern string, s syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // only what hangs takes that long
	defer cancel()
	_, err := m.Exec(ctx, "pkill", "-"+strconv.Itoa(int(s)), "-f", "--", pattern)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return err
}
