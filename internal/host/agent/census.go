package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Clusters are the clusters that the machine holds anything of but set-aside
// data, sorted: for whoever must stop all that runs on it.
func (a *Agent) Clusters() ([]string, error) {
	var out []string
	for _, dir := range []string{a.layout.config(""), a.layout.dataRoot(), a.layout.state("")} {
		found, err := names(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range found {
			if checkCluster(n) == nil { // else such as lost+found
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// ProcessesBelow are the pids of every etcd whose data directory lies below a
// directory, whoever started it and whether or not the data is still there.
func ProcessesBelow(dir string) ([]int, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := dataDirOf(pid)
		if err != nil {
			return nil, err
		}
		if data == "" || !below(dir, data) {
			continue
		}
		if _, alive, err := identify(pid, boot); err != nil {
			return nil, err
		} else if alive {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// dataDirOf is the data directory that a process was told, empty for one that
// is no etcd of CKE's.
func dataDirOf(pid int) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	args := strings.Split(string(b), "\x00")
	if filepath.Base(args[0]) != "etcd" {
		return "", nil
	}
	for _, arg := range args {
		if data, ok := strings.CutPrefix(arg, "--data-dir="); ok {
			return data, nil
		}
	}
	return "", nil
}

// below compares the names as they are and as they resolve: a directory may be
// reached over a link now and not then, and may be gone.
func below(dir, path string) bool {
	if strings.HasPrefix(path, dir+"/") {
		return true
	}
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for parent := path; parent != filepath.Dir(parent); parent = filepath.Dir(parent) {
		if resolved, err := filepath.EvalSymlinks(parent); err == nil {
			rest := strings.TrimPrefix(path, parent)
			return strings.HasPrefix(resolved+rest, realDir+"/")
		}
	}
	return false
}
