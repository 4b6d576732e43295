package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/test/lab"
)

// inLab is a cluster of a lab's machines, host keys pinned. The box's disk is
// shared by everything that runs here, and the machines' own are small: neither
// shall be held against them.
func inLab(ctx context.Context, l *lab.Lab, etcd string) (site, error) {
	s := site{config: "ssh:\n  identity: " + l.KeyFile() + "\n"}
	var b strings.Builder
	b.WriteString("name: bench\nnodes:\n")
	for _, m := range l.Machines() {
		key, err := m.HostKeyFingerprint(ctx)
		if err != nil {
			return s, err
		}
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root, host_key: %q}\n", m.Addr(), m.Name(), key)
		s.addresses = append(s.addresses, m.Addr().String())
	}
	fmt.Fprintf(&b, "etcd: {%s}\n%s", etcd, roomyPreflight)
	s.spec = []byte(b.String())
	return s, nil
}

// presence is what of CKE is on the machines before a run.
type presence string

const (
	all    presence = ""              // etcd and the helper
	helper presence = "/opt/cke/etcd" // the helper
	bare   presence = "/opt/cke"      // nothing
)

// clean makes a machine as if no cluster had been on it: no member, no data, no
// memory, no user. Of the programs it leaves what is said.
const clean = `
systemctl kill -s KILL 'etcd-*' 2>/dev/null || true
systemctl stop 'etcd-*'
systemctl stop cke-gateway.service floor-gateway.service 2>/dev/null || true
rm -rf /etc/systemd/system/cke-gateway* /etc/systemd/system/etcd-* /etc/systemd/system/multi-user.target.wants/etcd-* /run/systemd/system/etcd-*
rm -rf /etc/cke /var/lib/cke /etc/floor /var/lib/floor /opt/floor "$@"
systemctl daemon-reload
systemctl reset-failed
userdel etcd 2>/dev/null || true
groupdel etcd 2>/dev/null || true
`

// cleaned cleans all machines and lets the box's disk come to rest, so that no
// run pays for another's writes.
func cleaned(ctx context.Context, l *lab.Lab, left presence) error {
	for _, m := range l.Machines() {
		args := append([]string{"sh", "-ec", clean, "clean"}, strings.Fields(string(left))...)
		if _, err := m.Exec(ctx, args...); err != nil {
			return err
		}
		if _, err := m.Exec(ctx, "sync"); err != nil {
			return err
		}
	}
	return pause(ctx, 500*time.Millisecond)
}

// foundInLab has a new cke make the cluster on clean machines. It returns the
// first member's flags as well.
func foundInLab(ctx context.Context, o options, l *lab.Lab, n int, left presence) (p parts, flags []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := cleaned(ctx, l, left); err != nil {
		return p, nil, err
	}
	s, err := inLab(ctx, l, "")
	if err != nil {
		return p, nil, err
	}
	d, err := startDaemon(ctx, o, fmt.Sprintf("cke-%d", n), s)
	if err != nil {
		return p, nil, err
	}
	defer func() { err = d.over(err) }()
	if p, err = d.found(ctx, o.v); err != nil {
		return p, nil, err
	}
	flags, err = flagsIn(ctx, l.Machine(1))
	if n == 0 {
		err = errors.Join(err, sameUnit(ctx, l.Machine(1)))
	}
	return p, flags, err
}

// flagsIn are those of the etcd on a machine.
func flagsIn(ctx context.Context, m *lab.Machine) ([]string, error) {
	out, err := m.Exec(ctx, "sh", "-ec", `tr '\0' '\n' <"/proc/$(pidof etcd)/cmdline"`)
	argv := strings.Split(strings.TrimSpace(out), "\n")
	return argv[1:], err
}

// sameUnit prints in what CKE's unit on a machine differs from the floor's.
func sameUnit(ctx context.Context, m *lab.Machine) error {
	unit, err := m.ReadFile(ctx, "/etc/systemd/system/etcd-bench.service")
	if err != nil {
		return err
	}
	files, err := maxFiles(ctx, m)
	for _, d := range differing(string(unit), unitByHand(etcdOn(), nil, files)) {
		fmt.Println("   units differ:", d)
	}
	return err
}

// maxFiles is what a unit of the machine can be given.
func maxFiles(ctx context.Context, m *lab.Machine) (int, error) {
	out, err := m.Exec(ctx, "awk", "/^Max open files/ {print $5}", "/proc/1/limits")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	return min(n, 65536), err
}

// etcdOn is where CKE keeps etcd on a machine.
func etcdOn() string { return "/opt/cke/etcd/v" + cluster.DefaultVersion + "/etcd" }

func bootstrapInLab(ctx context.Context, o options, l *lab.Lab) error {
	// Once for the programs: they stay.
	if _, _, err := foundInLab(ctx, o, l, 0, all); err != nil {
		return err
	}
	return alternate(ctx, o.times(foundingPairs), []way{
		{name: atOnce, run: func(ctx context.Context, n int) (parts, []string, error) {
			return floorInLab(ctx, o, l, n, atOnce, all)
		}},
		{name: oneFirst, run: func(ctx context.Context, n int) (parts, []string, error) {
			return floorInLab(ctx, o, l, n, oneFirst, all)
		}},
		{name: byCKE, cke: true, run: func(ctx context.Context, n int) (parts, []string, error) {
			return foundInLab(ctx, o, l, n, all)
		}},
	})
}

func distributeInLab(ctx context.Context, o options, l *lab.Lab) error {
	const alsoHelper order = "cke, helper too"
	if _, _, err := foundInLab(ctx, o, l, 0, all); err != nil {
		return err
	}
	return alternate(ctx, o.times(foundingPairs), []way{
		{name: "scp, " + atOnce, run: func(ctx context.Context, n int) (parts, []string, error) {
			return floorInLab(ctx, o, l, n, atOnce, helper)
		}},
		{name: "scp, " + oneFirst, run: func(ctx context.Context, n int) (parts, []string, error) {
			return floorInLab(ctx, o, l, n, oneFirst, helper)
		}},
		{name: byCKE, cke: true, run: func(ctx context.Context, n int) (parts, []string, error) {
			return foundInLab(ctx, o, l, n, helper)
		}},
		{name: alsoHelper, cke: true, run: func(ctx context.Context, n int) (parts, []string, error) {
			return foundInLab(ctx, o, l, n, bare)
		}},
	})
}
