package kube

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestBadAddresses: members that Kubernetes cannot be told of are named, by
// `cluster set` and in a condition.
func TestBadAddresses(t *testing.T) {
	e := newEnv(t, 1, onBox)
	local := fmt.Sprintf("127.%d.%d.1", 20+rand.IntN(200), 1+rand.IntN(250))
	spec := fmt.Sprintf("name: main\nnodes:\n  - {address: %s, hostname: cp1, control_plane: true}\netcd: {quota: 512MiB}\npreflight: {max_fsync: 10s}\n", local)
	t.Cleanup(e.endLocal)
	e.Start()
	e.Set(spec)
	e.CLI("etcd", "issue", "kube-apiserver", "--output", "file")
	etcd := e.asTenant()
	etcd.Servers = []string{"https://" + local + ":2379"}
	_, err := e.StartAPIServer(e.ctx(), etcd)
	e.must(err)
	config, err := e.Kubeconfig("cke")
	e.must(err)
	e.grant()
	set := e.Run("ckecli", "cluster", "set", e.Write("cluster.yml", spec+"kubernetes: {kubeconfig: "+config+"}\n"))
	if set.Code != 0 {
		t.Fatalf("cluster set: %+v", set)
	}
	e.Says("cluster set", set.Stderr, "warning", local)
	c := e.condition(endpointsSubject, "addressIsRefusedByKubernetes")
	e.Says("the condition", c.Text, local)
	all, err := e.slices(e.ctx())
	e.must(err)
	for _, s := range all {
		if s.has(local) {
			t.Errorf("slice %s has %s", s.Metadata.Name, local)
		}
	}
}

// endLocal ends CKE and then its members on the box, which outlive it.
func (e *env) endLocal() {
	e.Kill()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	e.must(err)
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), "\x00--data-dir="+e.Installation.Dir+"/nodes/") {
			continue // it has ended, or is somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		e.must(err)
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
	}
}
