package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cke/internal/host"
)

func TestClusters(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	b := newBox(t)
	for _, dir := range []string{
		"etc/cke/etcd/installed", "var/lib/cke/etcd/data-only/7", "var/lib/cke/host/etcd/remembered",
		"var/lib/cke/host/etcd/installed", "var/lib/cke/etcd/lost+found", "var/lib/cke/etcd-aside/gone/7",
	} {
		must(t, os.MkdirAll(filepath.Join(b.root, dir), 0o700))
	}
	got, err := b.agent().Clusters()
	if diff := cmp.Diff([]string{"data-only", "installed", "remembered"}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := New(Options{Root: t.TempDir()}).Clusters(); len(got) > 0 || err != nil {
		t.Errorf("an empty machine: %v %v", got, err)
	}
}

// A process is found by where it works, also with its files gone and over
// another name of the directory.
func TestProcessesBelow(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	b := newBox(t)
	// Below a directory of its own: others' members run below that of all tests.
	b.root = filepath.Join(b.root, "root")
	must(t, os.Mkdir(b.root, 0o700))
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(b.root, link))
	beside := b.root + "-not"
	must(t, os.Mkdir(beside, 0o700))
	check := func(when string, want int) {
		t.Helper()
		for dir, n := range map[string]int{b.root: want, filepath.Dir(b.root): want, link: want, beside: 0, t.TempDir(): 0} {
			if pids, err := ProcessesBelow(dir); err != nil || len(pids) != n {
				t.Errorf("%s, below %s: %v %v", when, dir, pids, err)
			}
		}
	}
	check("running", 1)
	pid := b.etcds(t)[0]
	must(t, syscall.Kill(pid, syscall.SIGSTOP)) // it ends when it finds out
	eventually(t, "each of its threads stands still", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		must(t, err)
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err == nil && !bytes.Contains(b[bytes.LastIndexByte(b, ')')+1:], []byte(" T ")) {
				return false
			}
		}
		return len(tasks) > 0
	})
	must(t, os.RemoveAll(filepath.Join(b.root, "var/lib/cke/etcd")))
	check("its data removed", 1)
	must(t, syscall.Kill(pid, syscall.SIGCONT))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	check("stopped", 0)
}
