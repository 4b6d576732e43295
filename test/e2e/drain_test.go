package e2e

import (
	"fmt"
	"strings"
	"testing"

	"cke/internal/cluster"
)

// membersOf is a cluster.yml that wants so many voters on these nodes.
func (e *env) membersOf(voters int, nodes ...int) string {
	return strings.Replace(e.clusterYAML(nodes...), "etcd: {", fmt.Sprintf("etcd: {members: %d, ", voters), 1)
}

// TestDrain takes the leader's node out of service while a tenant writes, through
// a restart of cke, and puts it back.
func TestDrain(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	w.Wrote(50)
	node := e.memberThatLeads()
	id := e.MemberID(cluster.NodeName(node))
	out := e.CLI("node", "drain", node, "--why", "a new fan")
	e.Says("drain", out, node+" is drained")
	e.CLI("node", "drain", node) // once more: who looks still reads why
	if _, runs := e.members()[node]; runs {
		t.Errorf("the member on %s runs", node)
	}
	w.Wrote(50)
	other := "cp1"
	if node == other {
		other = "cp2"
	}
	e.CLIFails(3, []string{"node", "drain", other}, node+" is drained already")
	e.Says("status", e.CLI("status"), "a new fan", "drained", "ckecli node undrain "+node)

	e.Kill() // the next one knows of it
	e.Start()
	if s := e.Settled(); !s.Healthy {
		t.Errorf("a cluster under maintenance is not healthy: %s", s.Plan)
	}
	if _, runs := e.members()[node]; runs {
		t.Errorf("the member on %s was started", node)
	}
	w.Wrote(50)
	e.CLI("node", "undrain", node)
	e.onlyMembersAre(1, 2, 3)
	if got := e.MemberID(cluster.NodeName(node)); got != id {
		t.Errorf("%s carries member %s, was %s", node, got, id)
	}
	w.Wrote(50)
	w.Finish(200)
	e.NeverBelowQuorum()
	by := ""
	for _, r := range e.History() {
		if r.Action == "drain "+node {
			by = fmt.Sprintf("%s: %s", r.By, r.Reason)
		}
	}
	e.Says("history", by, "uid", "a new fan")
}

// TestDrainOneOfTwo: of two voters none can be spared, unless a person says so.
func TestDrainOneOfTwo(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2)
	e.CLI("etcd", "user-add", "app", "/app/")
	e.CLIFails(3, []string{"node", "drain", "cp2"}, "of 2 voters none can be spared", "--interrupt")
	e.CLI("node", "drain", "cp2", "--interrupt")
	if m := e.members(); len(m) != 1 {
		t.Errorf("members run: %v", m)
	}
	e.CLI("node", "undrain", "cp2")
	e.onlyMembersAre(1, 2)
}

// TestDrainOfASpare: a drained node gets no member.
func TestDrainOfASpare(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1)
	e.CLI("cluster", "set", e.Write("cluster.yml", e.membersOf(1, 1, 2, 3)), "--wait")
	e.CLI("node", "drain", "cp2")
	e.CLI("cluster", "set", e.Write("cluster.yml", e.membersOf(2, 1, 2, 3)), "--wait")
	e.onlyMembersAre(1, 3)
	e.CLI("node", "undrain", "cp2")
	e.CLIFails(3, []string{"node", "reboot", "cp2"}, "cke itself runs on the machine of cp2")
}
