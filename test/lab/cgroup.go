package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// labGroup is the control group of the whole lab; its children are one per
// machine and one for the lab's own programs. What is in them is the lab's, and
// nothing else is: that is how it knows what to end.
const labGroup = "cke-lab"

// helperGroup is for the programs of the lab that belong to no machine.
const helperGroup = "helpers"

// unifiedRoot is where cgroup2 is: alone, or beside the older hierarchies.
func unifiedRoot() string {
	var fsys unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fsys); err == nil && fsys.Type == unix.CGROUP2_SUPER_MAGIC {
		return cgroupRoot
	}
	return filepath.Join(cgroupRoot, "unified")
}

// hierarchies are the roots in which a machine gets a group. With cgroup2 alone
// that is one. Beside it, nspawn looks at systemd's own, and CPU and disk are
// throttled in the older ones.
func hierarchies() []string {
	roots := []string{unifiedRoot()}
	for _, name := range []string{"systemd", "cpu", "blkio"} {
		dir := filepath.Join(cgroupRoot, name)
		if _, err := os.Stat(dir); err == nil && roots[0] != cgroupRoot {
			roots = append(roots, dir)
		}
	}
	return roots
}

// makeGroup makes the lab's group of this name and returns its directories, the
// unified one first.
func makeGroup(name string) ([]string, error) {
	if unifiedRoot() == cgroupRoot {
		enableControllers()
	}
	var dirs []string
	for _, root := range hierarchies() {
		dir := filepath.Join(root, labGroup, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// enableControllers lets the machines' groups limit CPU and disk where cgroup2
// is alone. It may not be allowed to, as in a container; then SlowDisk and
// SlowCPU say so.
func enableControllers() {
	lab := filepath.Join(cgroupRoot, labGroup)
	for _, dir := range []string{cgroupRoot, lab} {
		_ = os.MkdirAll(lab, 0o755)
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +io"), 0o644)
	}
}

// groupProcesses lists the processes in a group of the lab and below it; name ""
// is the whole lab.
func groupProcesses(name string) []int {
	var pids []int
	walkGroup(filepath.Join(unifiedRoot(), labGroup, name), func(dir string) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return // it went away meanwhile
		}
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	})
	return pids
}

// killGroup ends every process in a group of the lab, frozen ones too, and waits
// until they are gone.
func killGroup(name string) error {
	kill := filepath.Join(unifiedRoot(), labGroup, name, "cgroup.kill")
	switch err := os.WriteFile(kill, []byte("1"), 0o200); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("kill what runs in the lab: %w", err)
	}
	return waitGroupEmpty(name, time.Minute)
}

func waitGroupEmpty(name string, limit time.Duration) error {
	err := poll(limit, "the processes of "+filepath.Join(labGroup, name)+" to end", func() bool {
		return len(groupProcesses(name)) == 0
	})
	if err != nil {
		return fmt.Errorf("%w; still there: %v", err, groupProcesses(name))
	}
	return nil
}

// removeGroup removes an empty group of the lab in all hierarchies.
func removeGroup(name string) error {
	var errs []error
	for _, root := range hierarchies() {
		var dirs []string
		walkGroup(filepath.Join(root, labGroup, name), func(dir string) { dirs = append(dirs, dir) })
		for i := len(dirs) - 1; i >= 0; i-- { // children first
			// The kernel lets go of an ended process a moment later.
			err := poll(time.Minute, dirs[i]+" to be empty", func() bool { return !errors.Is(os.Remove(dirs[i]), unix.EBUSY) })
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// walkGroup visits a group and those below it, parents first.
func walkGroup(dir string, visit func(string)) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // groups come and go while it looks
		if err == nil && d.IsDir() {
			visit(path)
		}
		return nil
	})
}

// setGroup writes one setting of a machine's group: name is its older
// hierarchy and file, or cgroup2's file alone.
func setGroup(machine, older, olderFile, file, olderValue, value string) error {
	path := filepath.Join(cgroupRoot, older, labGroup, machine, olderFile)
	if _, err := os.Stat(path); err != nil {
		path, olderValue = filepath.Join(unifiedRoot(), labGroup, machine, file), value
	}
	if err := os.WriteFile(path, []byte(olderValue), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", file, err)
	}
	return nil
}
