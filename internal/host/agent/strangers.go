package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cke/internal/host"
)

// foreign says what of another etcd is on the machine: CKE installs nothing
// beside it, for two would fight over ports and disk, and people would take one
// for the other. Where several agents share a machine, only what lies below
// this one's root is looked at.
func (a *Agent) foreign(ctx context.Context) ([]string, error) {
	var out []string
	for _, dir := range []string{"var/lib/etcd", "var/lib/etcd/default"} {
		path := filepath.Join(a.layout.root, dir)
		if found, err := names(filepath.Join(path, "member")); err == nil && len(found) > 0 {
			out = append(out, fmt.Sprintf("%s holds the data of an etcd that is not CKE's", path))
		}
	}
	manifest := filepath.Join(a.layout.root, "etc/kubernetes/manifests/etcd.yaml")
	if _, err := os.Lstat(manifest); err == nil {
		out = append(out, fmt.Sprintf("%s makes the kubelet run an etcd", manifest))
	}
	own, err := a.Clusters()
	if err != nil {
		return nil, err
	}
	more, err := a.runtime.strangers(ctx, own)
	return append(out, more...), err
}

// allowBeside refuses to install the first unit of a cluster on a machine that
// has an etcd already.
func (a *Agent) allowBeside(ctx context.Context) error {
	found, err := a.foreign(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	return refuse(host.ForeignEtcd, "%s", strings.Join(found, "; "))
}

// strangers has nothing to say: the machine is not this agent's alone.
func (p *processes) strangers(context.Context, []string) ([]string, error) { return nil, nil }

func (s *services) strangers(ctx context.Context, own []string) ([]string, error) {
	mine := map[string]bool{}
	for _, c := range own {
		// A unit of that name which CKE did not write is another's.
		if text, err := os.ReadFile(s.filePath(c)); err == nil {
			_, mine[serviceName(c)] = memberOfFile(string(text))
		}
	}
	var out []string
	active, err := s.bus.active(ctx, "etcd*.service")
	if err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	enabled, err := s.enabled("etcd*.service")
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(active, enabled...)))) {
		switch {
		case mine[name]:
		case slices.Contains(active, name):
			out = append(out, fmt.Sprintf("unit %s, which is not CKE's, is active", name))
		default:
			out = append(out, fmt.Sprintf("unit %s, which is not CKE's, is enabled", name))
		}
	}
	running, err := s.strangeProcesses()
	return append(out, running...), err
}

// enabled are the units that something pulls in, by name.
func (s *services) enabled(pattern string) ([]string, error) {
	var out []string
	for _, dir := range []string{"*.wants", "*.requires"} {
		links, err := filepath.Glob(filepath.Join(s.layout.root, "etc/systemd/system", dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			out = append(out, filepath.Base(l))
		}
	}
	return out, nil
}

// strangeProcesses are those named etcd that work in no directory of CKE's, in
// containers too.
func (s *services) strangeProcesses() ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if gone(err) || errors.Is(err, fs.ErrPermission) || strings.TrimSpace(string(comm)) != "etcd" {
			continue
		}
		if err != nil {
			return nil, err
		}
		data, err := dataDirOf(pid)
		if err != nil {
			return nil, err
		}
		if data != "" && strings.HasPrefix(data, s.layout.dataRoot()+"/") {
			continue
		}
		out = append(out, fmt.Sprintf("process %d is an etcd that is not CKE's", pid))
	}
	return out, nil
}
