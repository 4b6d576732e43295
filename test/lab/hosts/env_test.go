// Package hosts has the end-to-end tests on real machines: systemd, sshd, disks
// and a network of their own, reached over SSH, and broken in every way.
package hosts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/test/drive"
	"cke/test/lab"
)

// env is one installation of CKE on the box, and the machines it cares for.
type env struct {
	*drive.Installation
	t   *testing.T
	lab *lab.Lab
	// options of the clusters that yaml writes, below etcd.
	etcd string
	// line gives each node what else it has, such as a port.
	user string
}

// newEnv boots machines and prepares an installation. Nothing of CKE's runs.
func newEnv(t *testing.T, machines int, opts ...lab.Option) *env {
	t.Helper()
	l := lab.Start(t, machines, opts...)
	e := &env{Installation: drive.New(t, ""), t: t, lab: l, user: lab.Root}
	e.configure("interval: 2s")
	return e
}

// configure writes config.yml with these lines more; what begins with two
// spaces is about SSH.
func (e *env) configure(lines ...string) {
	e.t.Helper()
	text := fmt.Sprintf(`data_dir: %[1]s/state
key_file: %[1]s/seal.key
socket: %[1]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
ssh:
  identity: %[2]s
`, e.Dir, e.lab.KeyFile())
	slices.SortFunc(lines, strings.Compare) // those that begin with spaces first
	e.Write("config.yml", text+strings.Join(lines, "\n")+"\n")
}

func (e *env) mustCopy(from, to string) {
	e.t.Helper()
	b, err := os.ReadFile(from)
	e.must(err, os.MkdirAll(filepath.Dir(to), 0o755))
	e.must(os.WriteFile(to, b, 0o755))
}

// newCluster boots machines and founds a settled cluster on some of them.
func newCluster(t *testing.T, machines int, nodes []int, opts ...lab.Option) *env {
	t.Helper()
	e := newEnv(t, machines, opts...)
	e.Start()
	e.Set(e.yaml(nodes...))
	return e
}

// ctx bounds what a test does on a machine.
func (e *env) ctx() context.Context {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	e.t.Cleanup(cancel)
	return ctx
}

// yaml is a cluster.yml of these machines, host keys pinned.
func (e *env) yaml(nodes ...int) string {
	e.t.Helper()
	return e.yamlWith("", nodes...)
}

// yamlWith gives each node more keys, such as ", gateway: true".
func (e *env) yamlWith(more string, nodes ...int) string {
	e.t.Helper()
	var b strings.Builder
	b.WriteString("name: main\nnodes:\n")
	for _, i := range nodes {
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: %s, host_key: %q%s}\n",
			e.addr(i), e.name(i), e.user, e.hostKey(i), more)
	}
	fmt.Fprintf(&b, "etcd: {quota: 256MiB%s}\n", e.etcd)
	// The box's disk is shared by everything that runs here, so a slow one says
	// nothing; TestPreflight has the defaults.
	b.WriteString("preflight: {max_fsync: 10s}\n")
	return b.String()
}

func (e *env) hostKey(i int) string {
	e.t.Helper()
	key, err := e.lab.Machine(i).HostKeyFingerprint(e.ctx())
	if err != nil {
		e.t.Fatal(err)
	}
	return key
}

func (e *env) addr(i int) string           { return e.lab.Machine(i).Addr().String() }
func (e *env) name(i int) cluster.NodeName { return cluster.NodeName(e.lab.Machine(i).Name()) }

func (e *env) addrs(nodes ...int) []string {
	var out []string
	for _, i := range nodes {
		out = append(out, e.addr(i))
	}
	return out
}

func (e *env) names(nodes ...int) []cluster.NodeName {
	var out []cluster.NodeName
	for _, i := range nodes {
		out = append(out, e.name(i))
	}
	return out
}

// sh runs a line of shell on a machine, past the network.
func (e *env) sh(i int, line string) string {
	e.t.Helper()
	out, err := e.lab.Machine(i).Exec(e.ctx(), "sh", "-c", line)
	if err != nil {
		e.t.Fatalf("%s: %s: %v", e.name(i), line, err)
	}
	return strings.TrimSpace(out)
}

// mainPID is the pid of a machine's member, 0 without one.
func (e *env) mainPID(i int) string {
	e.t.Helper()
	return e.sh(i, "systemctl show -p MainPID --value etcd-main.service")
}

// on switches machines on, all at once.
func (e *env) on(nodes ...int)  { e.each(nodes, (*lab.Machine).On) }
func (e *env) off(nodes ...int) { e.each(nodes, (*lab.Machine).Off) }
func (e *env) cutPower(nodes ...int) {
	e.each(nodes, (*lab.Machine).PowerCut)
}

func (e *env) each(nodes []int, do func(*lab.Machine) error) {
	e.t.Helper()
	errs := make(chan error)
	for _, i := range nodes {
		go func() { errs <- do(e.lab.Machine(i)) }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			e.t.Fatal(err)
		}
	}
}

// tenant makes user app and starts to write as it.
func (e *env) tenant(outages bool, nodes ...int) *drive.Load {
	e.t.Helper()
	e.CLI("etcd", "user-add", "app", "/app/")
	return e.StartLoad(outages, e.addrs(nodes...)...)
}
