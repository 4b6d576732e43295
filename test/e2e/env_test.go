// Package e2e drives the real programs: cke, ckecli and etcd, as processes on
// loopback addresses, without root.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/drive"
)

// env is one installation of CKE on a loopback network of its own.
type env struct {
	*drive.Installation
	t   *testing.T
	net string // such as "127.81.3."
}

// newEnv prepares an installation without starting anything. At the end of the
// test its daemon and members are ended, by pid.
func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{Installation: drive.New(t, "interval: 2s\n"), t: t, net: drive.FreeNet(t)}
	t.Cleanup(e.end)
	return e
}

func (e *env) end() { e.EndMembers() }

// newCluster is an installation with a settled cluster on these nodes.
func newCluster(t *testing.T, nodes ...int) *env {
	t.Helper()
	e := newEnv(t)
	e.Start()
	e.set(nodes...)
	return e
}

// in is the same installation as seen by a subtest.
func (e *env) in(t *testing.T) *env { return &env{e.In(t), t, e.net} }

// at is the same network and programs with another directory.
func (e *env) at(dir string) *env { return &env{e.At(dir), e.t, e.net} }

// addr is the address of node i.
func (e *env) addr(i int) string { return e.net + strconv.Itoa(i) }

func (e *env) addrs(nodes []int) []string {
	var out []string
	for _, i := range nodes {
		out = append(out, e.addr(i))
	}
	return out
}

// clusterYAML is a cluster.yml with these nodes, each cpI at address I.
func (e *env) clusterYAML(nodes ...int) string {
	var b strings.Builder
	b.WriteString("name: main\nnodes:\n")
	for _, i := range nodes {
		fmt.Fprintf(&b, "  - {address: %s, hostname: cp%d, control_plane: true}\n", e.addr(i), i)
	}
	// The disk is shared with all other tests; one of its own is measured elsewhere.
	b.WriteString("etcd: {quota: 512MiB}\npreflight: {max_fsync: 10s}\n")
	return b.String()
}

// set puts a cluster.yml with these nodes and waits until it is settled.
func (e *env) set(nodes ...int) {
	e.t.Helper()
	e.Set(e.clusterYAML(nodes...))
}

// onlyMembersAre checks that exactly these nodes carry started voters.
func (e *env) onlyMembersAre(nodes ...int) {
	e.t.Helper()
	var names []cluster.NodeName
	for _, i := range nodes {
		names = append(names, cluster.NodeName(fmt.Sprintf("cp%d", i)))
	}
	e.OnlyMembersAre(names...)
}

// connect makes an etcd client for these nodes.
func (e *env) connect(c api.Certificate, nodes ...int) *clientv3.Client {
	e.t.Helper()
	return e.Connect(c, e.addrs(nodes)...)
}

// startLoad needs user app with prefix /app/, and quorum all along.
func (e *env) startLoad(nodes ...int) *drive.Load {
	e.t.Helper()
	return e.StartLoad(false, e.addrs(nodes)...)
}

// blocked waits until the plan is blocked by this rule and has no steps left.
func (e *env) blocked(rule string) api.Status {
	e.t.Helper()
	return e.Until("the plan is blocked by "+rule, func(s api.Status) error {
		for _, r := range s.Plan.Reasons {
			if r.Rule == rule && len(s.Plan.Steps) == 0 {
				return nil
			}
		}
		return errors.New("it is not")
	})
}

// members are the pids of this installation's etcd processes, by node.
func (e *env) members() map[string]int {
	e.t.Helper()
	return e.Members()
}

// killMember ends a node's member with SIGKILL and waits until it is gone.
func (e *env) killMember(node string) {
	e.t.Helper()
	pid, ok := e.members()[node]
	if !ok {
		e.t.Fatalf("no member runs on %s", node)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
	e.gone(pid)
}

// gone waits until a process has ended and holds nothing any more.
func (e *env) gone(pid int) {
	e.t.Helper()
	e.Eventually("the process is gone", func() error {
		if !drive.Gone(pid) {
			return fmt.Errorf("pid %d is there", pid)
		}
		return nil
	})
}

// dataDirs lists a node's data directories, those in place and those aside.
func (e *env) dataDirs(node string) (inPlace, aside []string) {
	e.t.Helper()
	glob := func(p string) []string {
		m, err := filepath.Glob(filepath.Join(e.Dir, "nodes", node, "var/lib/cke", p))
		if err != nil {
			e.t.Fatal(err)
		}
		return m
	}
	return glob("etcd/main/*"), glob("etcd-aside/main/*")
}

// wipe removes a stopped member's data.
func (e *env) wipe(node string) {
	e.t.Helper()
	dirs, _ := e.dataDirs(node)
	if len(dirs) == 0 {
		e.t.Fatalf("%s has no data to wipe", node)
	}
	for _, d := range dirs {
		if err := os.RemoveAll(d); err != nil {
			e.t.Fatal(err)
		}
	}
}

// daemonFails runs cke with a configuration it must refuse, and returns what it
// said.
func (e *env) daemonFails(code int, args ...string) string {
	e.t.Helper()
	r := e.Finish(e.Command(nil, "cke", args...))
	if r.Code != code {
		e.t.Errorf("cke %v: exit %d, want %d\n%s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stderr
}

// hold listens on a node's port, as another program would.
func (e *env) hold(node, port int) net.Listener {
	e.t.Helper()
	l, err := net.Listen("tcp", e.addr(node)+":"+strconv.Itoa(port))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = l.Close() }) // closed earlier where the test goes on
	return l
}

// tree lists what is below a directory, with sizes: nothing touched is equal.
func (e *env) tree(dir string) []string {
	e.t.Helper()
	var list []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		list = append(list, info.Mode().String()+" "+path)
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.t.Fatal(err)
	}
	return list
}

func (e *env) wantMode(path string, want os.FileMode) {
	e.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		e.t.Error(err)
		return
	}
	if got := info.Mode().Perm(); got != want {
		e.t.Errorf("mode of %s is %04o, want %04o", path, got, want)
	}
}

// ask repeats a question to the members until it is answered, and what may be asked for
// twice until it is done: on a busy machine they may be between two leaders.
func (e *env) ask(what string, fn func(context.Context) error) {
	e.t.Helper()
	e.Eventually(what, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return fn(ctx)
	})
}

// put and get use one key as a tenant.
func put(t *testing.T, e *env, c api.Certificate, key, value string) {
	t.Helper()
	cl := e.connect(c, 1, 2, 3)
	e.ask("put "+key, func(ctx context.Context) error {
		_, err := cl.Put(ctx, key, value)
		return err
	})
}

func get(t *testing.T, e *env, c api.Certificate, key string) string {
	t.Helper()
	cl := e.connect(c, 1, 2, 3)
	value := ""
	e.ask("get "+key, func(ctx context.Context) error {
		resp, err := cl.Get(ctx, key)
		if err == nil && len(resp.Kvs) == 1 {
			value = string(resp.Kvs[0].Value)
		}
		return err
	})
	return value
}
