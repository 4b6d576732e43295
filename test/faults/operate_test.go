package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/test/drive"
	"cke/test/faults/schedule"
)

// operate asks CKE for a round's operation. It may be asked for again when a fault
// was in the way, and says what was.
func (r *run) operate(round schedule.Round) error {
	switch round.Operation {
	case schedule.None:
		return nil
	case schedule.Add, schedule.Remove, schedule.Replace, schedule.Rotate, schedule.Settings, schedule.Version:
		return r.cli("cluster", "set", r.in.Write("cluster.yml", r.yaml(round.Spec)))
	case schedule.Tenant:
		user := fmt.Sprintf("guest%d", round.N)
		return inOrder(
			func() error { return r.cli("etcd", "user-add", user, "/"+user+"/") },
			func() error { return r.cli("etcd", "issue", user) },
			func() error { return r.cli("etcd", "user-remove", user) })
	case schedule.Backup:
		return r.cli("etcd", "local-backup", "--dir", r.in.Dir+"/backups", "--max-backups", "2")
	case schedule.Pause:
		return inOrder(
			func() error { return r.cli("pause", "--why", "to see what happens") },
			func() error { r.wait(time.Second); return nil },
			func() error { return r.cli("resume") })
	case schedule.Clean:
		for _, n := range r.in.Status().Left {
			if err := r.cli("node", "clean", string(n.Hostname)); err != nil {
				return err
			}
		}
		return nil
	case schedule.Defrag:
		return r.cli("etcd", "defrag")
	case schedule.Drain, schedule.Restart:
		return r.maintain(round)
	case schedule.State:
		return r.cli("state", "backup", fmt.Sprintf("%s/state-%d.backup", r.in.Dir, round.N))
	}
	return fmt.Errorf("nobody knows how to %s", round.Operation)
}

// maintain is asked for while something may be broken, and waits for that no longer
// than a moment: what has begun goes on by itself.
func (r *run) maintain(round schedule.Round) error {
	node := r.lab.Machine(round.Other).Name()
	if round.Operation == schedule.Drain {
		return inOrder(
			func() error { return r.cli("node", "drain", node, "--why", "to see what happens", "--timeout", "5s") },
			func() error { return r.cli("node", "undrain", node, "--timeout", "30s") })
	}
	err := r.cli("node", "reboot", node, "--why", "to see what happens", "--timeout", "3s")
	if err != nil && strings.Contains(err.Error(), "is not there yet") {
		return nil // who waits for a settled cluster waits for it
	}
	return err
}

// cli runs ckecli; what it says when it fails is the error.
func (r *run) cli(args ...string) error {
	res := r.in.Run("ckecli", args...)
	if res.Code != 0 {
		return fmt.Errorf("ckecli %s: exit %d: %s", strings.Join(args, " "), res.Code, strings.TrimSpace(res.Stderr))
	}
	return nil
}

// yaml is the cluster.yml of a spec.
func (r *run) yaml(s schedule.Spec) string { return r.yamlWithSpare(s, 0) }

// yamlWithSpare has one machine more, which gets no member.
func (r *run) yamlWithSpare(s schedule.Spec, spare int) string {
	var b strings.Builder
	members := len(s.Nodes)
	if spare != 0 {
		s.Nodes = append(slices.Clone(s.Nodes), spare)
	}
	fmt.Fprintf(&b, "name: main\ncluster_domain: d%d.local\nnodes:\n", s.Domain)
	for _, i := range s.Nodes {
		m := r.lab.Machine(i)
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root, host_key: %q}\n", m.Addr(), m.Name(), r.keys[i])
	}
	version := cluster.DefaultVersion
	if s.Older {
		version = drive.OlderVersion
	}
	// Nothing is compacted but what NOSPACE makes CKE compact, so that there is one log
	// of it all.
	fmt.Fprintf(&b, "etcd: {version: %s, members: %d, replace_after: 15s, quota: 64MiB, compaction_retention: 24h, extra_args: {warning-apply-duration: %dms, compact-hash-check-time: 1s}}\n",
		version, members, 200+s.Settings)
	b.WriteString("preflight: {max_fsync: 10s}\n")
	return b.String()
}

// wait passes time.
func (r *run) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
