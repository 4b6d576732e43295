// Package kube has the end-to-end tests with a real Kubernetes: its API server on
// CKE's cluster, CKE's endpoints in it, and names resolved by its CoreDNS.
package kube

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/test/drive"
	"cke/test/kube/k8s"
	"cke/test/lab"
)

// env is one installation of CKE on the box, the machines it cares for, and a
// control plane.
type env struct {
	*drive.Installation
	t   *testing.T
	lab *lab.Lab
	*k8s.Plane
	client *k8s.Client
	// etcd and node are more settings in the clusters that yaml writes: below
	// etcd, and of each node.
	etcd string
	node map[int]string
	// kubernetes is the spec's section; empty: none.
	kubernetes string
}

// newEnv boots machines, and prepares an installation and a control plane at an
// address of the box's or of a machine's. Neither runs yet.
func newEnv(t *testing.T, machines int, at func(*lab.Lab) lab.Node) *env {
	t.Helper()
	l := lab.Start(t, machines)
	e := &env{Installation: drive.New(t, fmt.Sprintf("interval: 2s\nssh: {identity: %s}\n", l.KeyFile())), t: t, lab: l, node: map[int]string{}}
	var err error
	e.Plane, err = k8s.New(filepath.Join(e.Installation.Dir, "k8s"), e.Bin, at(l).Addr())
	e.must(err)
	e.client, err = e.Plane.Client()
	e.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.Logs(20))
		}
		e.Plane.Close()
	})
	return e
}

func onBox(l *lab.Lab) lab.Node { return l.Box() }

// in is the same world as seen by a subtest.
func (e *env) in(t *testing.T) *env {
	sub := *e
	sub.t, sub.Installation = t, e.Installation.In(t)
	return &sub
}

func (e *env) must(errs ...error) {
	e.t.Helper()
	for _, err := range errs {
		if err != nil {
			e.t.Fatal(err)
		}
	}
}

// ctx bounds one thing that a test does.
func (e *env) ctx() context.Context {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*drive.Patience)
	e.t.Cleanup(cancel)
	return ctx
}

// found starts CKE and has it make a settled cluster on these machines.
func (e *env) found(nodes ...int) {
	e.t.Helper()
	e.Start()
	e.Set(e.yaml(nodes...))
}

// yaml is a cluster.yml with members on these machines, host keys pinned.
func (e *env) yaml(nodes ...int) string {
	e.t.Helper()
	var b strings.Builder
	b.WriteString("name: main\nnodes:\n")
	for _, i := range nodes {
		m := e.lab.Machine(i)
		key, err := m.HostKeyFingerprint(e.ctx())
		e.must(err)
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root, host_key: %q%s}\n", m.Addr(), m.Name(), key, e.node[i])
	}
	// The box's disk is shared by everything that runs here.
	fmt.Fprintf(&b, "etcd: {quota: 1GiB%s}\npreflight: {max_fsync: 10s, min_free: 100MiB}\n", e.etcd)
	if e.kubernetes != "" {
		fmt.Fprintf(&b, "kubernetes: {%s}\n", e.kubernetes)
	}
	return b.String()
}

// serve has an API server run on the box with members on these machines, as the
// tenant kube-apiserver.
func (e *env) serve(nodes ...int) *k8s.Process {
	e.t.Helper()
	e.CLI("etcd", "issue", "kube-apiserver", "--output", "file")
	s, err := e.StartAPIServer(e.ctx(), e.asTenant(nodes...))
	e.must(err)
	return s
}

// asTenant is how an API server on the box reaches etcd.
func (e *env) asTenant(nodes ...int) k8s.Etcd {
	file := func(name string) string { return filepath.Join(e.Installation.Dir, name) }
	etcd := k8s.Etcd{CA: file("etcd-ca.crt"), Cert: file("etcd-kube-apiserver.crt"), Key: file("etcd-kube-apiserver.key")}
	for _, a := range e.addrs(nodes...) {
		etcd.Servers = append(etcd.Servers, "https://"+a+":2379")
	}
	return etcd
}

func (e *env) addr(i int) netip.Addr       { return e.lab.Machine(i).Addr() }
func (e *env) name(i int) cluster.NodeName { return cluster.NodeName(e.lab.Machine(i).Name()) }

func (e *env) addrs(nodes ...int) []string {
	var out []string
	for _, i := range nodes {
		out = append(out, e.addr(i).String())
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

// kubectl runs it as the administrator; it must succeed.
func (e *env) kubectl(args ...string) string { e.t.Helper(); return e.apply("", args...) }

// apply is kubectl with this standard input.
func (e *env) apply(input string, args ...string) string {
	e.t.Helper()
	out, err := e.Kubectl(e.ctx(), input, args...)
	e.must(err)
	return out
}

// byNames runs etcdctl as root of etcd where names are found through CoreDNS
// only. The certificate is the one root wrote to files last.
func (e *env) byNames(ctx context.Context, args ...string) (string, error) {
	line := e.OnlyCoreDNS(filepath.Join(e.Bin, "etcdctl"), args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
