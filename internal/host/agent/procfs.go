package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process names one process for all time: a pid is used again, a pid with its
// start time is not, within one boot.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot (proc_pid_stat(5), field 22)
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

// bootID identifies the running kernel.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// identify reads a living process; false when there is none or it is a zombie.
func identify(pid int, boot string) (process, bool, error) {
	p, ended, err := stat(pid, boot)
	if gone(err) {
		return process{}, false, nil
	}
	return p, err == nil && !ended, err
}

func stat(pid int, boot string) (p process, ended bool, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false, err
	}
	ended, start, err := parseStat(string(b))
	if err != nil {
		return process{}, false, fmt.Errorf("read stat of pid %d: %w", pid, err)
	}
	return process{PID: pid, Start: start, Boot: boot}, ended, nil
}

// parseStat reads fields 3 (state), 20 (threads) and 22 (start time) of proc_pid_stat(5).
// The second field may hold spaces and parentheses, so it counts from the last one. A
// process that is killed shows the end of its first thread, and has its ports and locks
// until that of the last, which may be in a write to a slow disk.
func parseStat(s string) (ended bool, start uint64, err error) {
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return false, 0, errors.New("no command name")
	}
	f := strings.Fields(s[i+1:])
	if len(f) < 20 {
		return false, 0, errors.New("too few fields")
	}
	threads, err := strconv.Atoi(f[17])
	if err != nil {
		return false, 0, err
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return (f[0] == "Z" || f[0] == "X") && threads <= 1, start, err
}

// anyone may run an etcd of the process runtime's: whoever its agent is.
func anyone(int) bool { return true }

// findEtcd looks through all processes for an etcd in this data directory, of
// somebody who counts: the one way to find a process that was forked and never
// recorded.
func findEtcd(dataDir, boot string, counts func(pid int) bool) (process, bool, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return process{}, false, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if is, err := isEtcdIn(pid, dataDir); err != nil {
			return process{}, false, err
		} else if !is || !counts(pid) {
			continue
		}
		if p, ok, err := identify(pid, boot); err != nil || ok {
			return p, ok, err
		}
	}
	return process{}, false, nil
}

func isEtcdIn(pid int, dataDir string) (bool, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/cmdline")
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.Contains(strings.Split(string(b), "\x00"), "--data-dir="+dataDir) {
		return false, nil
	}
	exe, err := os.Readlink(dir + "/exe")
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	// The kernel marks a binary that was replaced on disk.
	return filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == "etcd", err
}

// hardFileLimit is how many files a process may at most have open
// (proc_pid_limits(5)).
func hardFileLimit(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 {
			continue
		}
		if f[1] == "unlimited" {
			return math.MaxUint64, nil
		}
		return strconv.ParseUint(f[1], 10, 64)
	}
	return 0, fmt.Errorf("read the limits of pid %d: no open files in them", pid)
}
