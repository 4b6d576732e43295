package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/test/drive"
)

// TestNodeClean replaces a node and cleans the one that left: it is known until
// then, nothing of it is left afterwards, and whatever may still be needed is
// not touched.
func TestNodeClean(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.set(1, 2, 4)
	e.dataIsAside("cp3")
	e.Says("node list", e.CLI("node", "list"), "cp3   "+e.addr(3), "left",
		"cp3: what cke put there is still there; ckecli node clean cp3 removes")
	nodes := drive.Decode[[]api.NodeStatus](t, e.CLI("node", "list", "--output", "json"))
	if n := nodes[len(nodes)-1]; len(nodes) != 4 || n.Hostname != "cp3" || !n.Left || n.Leaving {
		t.Fatalf("nodes: %+v", nodes)
	}

	// Not while a member is there, and not while its data may be the last.
	e.refused("cp1", "it carries member")
	e.refused("cp1", "it is in the spec", "--forget")
	e.Kill()
	for _, node := range []string{"cp1", "cp2", "cp4"} {
		e.killMember(node)
	}
	e.hide("cp1")
	e.hide("cp2")
	e.Start()
	e.blocked("restoreIsNeeded")
	e.refused("cp3", "no quorum")
	e.dataIsAside("cp3")
	e.show("cp1")
	e.show("cp2")
	e.Settled()

	e.Says("node clean", e.CLI("node", "clean", "cp3"), "node cp3 is clean")
	if left := e.below("cp3"); len(left) > 0 {
		t.Errorf("left of cp3: %q", left)
	}
	if list := e.CLI("node", "list"); strings.Contains(list, "cp3") {
		t.Errorf("after the cleaning:\n%s", list)
	}
	if r := e.Run("ckecli", "node", "clean", "cp3"); r.Code != 1 || !strings.Contains(r.Stderr, "no node") {
		t.Errorf("again: %+v", r)
	}
	by := ""
	for _, r := range e.History() {
		if r.Action == "clean cp3" && r.Error == "" {
			by = r.By
		}
	}
	if !strings.HasPrefix(by, "uid ") {
		t.Errorf("in history it is done by %q", by)
	}

	// It may come back, and one whose machine is gone is only forgotten.
	e.set(1, 2, 3)
	e.set(1, 2, 4)
	e.set(1, 2, 3)
	e.onlyMembersAre(1, 2, 3)
	if err := os.RemoveAll(filepath.Join(e.Dir, "nodes/cp4")); err != nil {
		t.Fatal(err)
	}
	e.Says("node list", e.CLI("node", "list"), "cp4   "+e.addr(4))
	e.Says("forget", e.CLI("node", "clean", "cp4", "--forget"), "node cp4 is forgotten")
	if _, err := os.Stat(filepath.Join(e.Dir, "nodes/cp4")); !os.IsNotExist(err) {
		t.Errorf("forgetting touched the machine: %v", err)
	}
	if list := e.CLI("node", "list"); strings.Contains(list, "cp4") {
		t.Errorf("after it was forgotten:\n%s", list)
	}
}

func (e *env) refused(node, why string, flags ...string) {
	e.t.Helper()
	r := e.Run("ckecli", append([]string{"node", "clean", node}, flags...)...)
	if r.Code != 3 || !strings.Contains(r.Stderr, why) || !strings.Contains(r.Stderr, "hint: ") {
		e.t.Errorf("clean %s: exit %d\n%s", node, r.Code, r.Stderr)
	}
}

// hide takes a node's data away, as a disk that is not there; show brings it back.
func (e *env) hide(node string) { e.rename(node, "var/lib/cke/etcd", "hidden") }
func (e *env) show(node string) { e.rename(node, "hidden", "var/lib/cke/etcd") }

func (e *env) rename(node, from, to string) {
	e.t.Helper()
	root := filepath.Join(e.Dir, "nodes", node)
	if err := os.RemoveAll(filepath.Join(root, to)); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
		e.t.Fatal(err)
	}
}

// below lists what is below a node's root.
func (e *env) below(node string) []string {
	e.t.Helper()
	root := filepath.Join(e.Dir, "nodes", node)
	var out []string
	if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if path != root {
			out = append(out, path)
		}
		return err
	}); err != nil {
		e.t.Fatal(err)
	}
	return out
}
