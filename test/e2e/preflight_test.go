package e2e

import (
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestPreflight: a host is measured before it carries a member, at the founding
// and later; what fails is shown, blocks, and is lifted by an edit of the spec.
func TestPreflight(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	strict := func(nodes ...int) string {
		return e.Write("strict.yml", strings.Replace(e.clusterYAML(nodes...), "max_fsync: 10s", "max_fsync: 1us", 1))
	}
	e.CLIFails(3, []string{"cluster", "set", strict(1, 2, 3), "--wait"},
		"blocked hostFailsPreflight cp1: fsync: ", "blocked hostFailsPreflight cp3: fsync: ", "(at most 1µs", "preflight.max_fsync is the limit")
	if m := e.members(); len(m) > 0 {
		t.Fatalf("members run: %v", m)
	}
	e.set(1, 2, 3)

	e.CLIFails(3, []string{"cluster", "set", strict(1, 2, 3, 4, 5), "--wait"}, "hostFailsPreflight cp4", "hostFailsPreflight cp5")
	if m := e.members(); len(m) != 3 {
		t.Fatalf("members run: %v", m)
	}
	e.set(1, 2, 3, 4, 5)
	if m := e.members(); len(m) != 5 {
		t.Fatalf("members run: %v", m)
	}
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Kind == plan.CheckHosts {
			t.Errorf("a look is in the history: %+v", r)
		}
	}
}

// TestNodeCheck: each machine's lines, and an exit code that tells.
func TestNodeCheck(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	busy := e.hold(2, cluster.PeerPort)
	e.CLI("cluster", "set", e.Write("cluster.yml", e.clusterYAML(1, 2, 3)))
	e.blocked("portsMustBeFree")
	r := e.Run("ckecli", "node", "check")
	if r.Code != 3 {
		t.Errorf("exit %d, want 3", r.Code)
	}
	e.Says("stderr", r.Stderr, "not fit to carry a member: ")
	e.Says("stdout", r.Stdout, "cp1 ("+e.addr(1)+")", "FAIL  ports", "ports [2380] of "+e.addr(2)+" are in use by another program", "ok    to cp1")
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	e.Settled()

	// Members that run are measured too, and not disturbed.
	pids := e.members()
	list := drive.Decode[[]cluster.NodeCheck](t, e.CLI("node", "check", "--output", "json"))
	if len(list) != 3 {
		t.Fatalf("%d nodes", len(list))
	}
	for _, n := range list {
		for _, c := range n.Checks {
			if c.Verdict == cluster.CheckFail {
				t.Errorf("%s: %+v", n.Node, c)
			}
		}
		if i := slices.IndexFunc(n.Checks, func(c cluster.Check) bool { return c.Name == "ports" }); !strings.Contains(n.Checks[i].Text, "its member's") {
			t.Errorf("%s: %+v", n.Node, n.Checks[i])
		}
	}
	e.Says("one node", e.CLI("node", "check", "cp2"), "cp2 ("+e.addr(2)+")")
	e.CLIFails(1, []string{"node", "check", "cp9"}, `cluster main has no node "cp9"`, "hint: ckecli node list")
	if after := e.members(); len(after) != 3 || after["cp1"] != pids["cp1"] {
		t.Errorf("members %v, were %v", after, pids)
	}
}
