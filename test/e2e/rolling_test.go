package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/plan"
	"cke/internal/record"
)

// withSettings is a cluster.yml whose section etcd says more.
func (e *env) withSettings(more string, nodes ...int) string {
	const quota = "etcd: {quota: 512MiB"
	switch {
	case more == "":
		return e.clusterYAML(nodes...)
	case strings.HasPrefix(more, "quota:"):
		return e.etcdYAML(more, nodes...)
	}
	return strings.Replace(e.clusterYAML(nodes...), quota, quota+", "+more, 1)
}

// runsWith checks that each of these nodes' members was started with an argument.
func (e *env) runsWith(arg string, nodes ...int) {
	e.t.Helper()
	pids := e.members()
	for _, i := range nodes {
		name := fmt.Sprintf("cp%d", i)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pids[name]))
		if err != nil || !slices.Contains(strings.Split(string(b), "\x00"), arg) {
			e.t.Errorf("%s does not run with %s: %v\n%s", name, arg, err, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}

// steady has members elect another leader only once they have not heard of theirs for
// so long that the machine cannot just have been busy: for tests that count how often
// CKE moves leadership.
const steady = `extra_args: {election-timeout: "2500"}`

// stoodStill is how long a machine stands still that may have had members elect another
// leader all the same, or CKE's steps wait for longer than they do. How often leadership
// moved says nothing of CKE then.
const stoodStill = time.Second

// TestRollingSettings changes a flag of three members while a tenant writes: one
// after the other is restarted, the leader last, and leadership moves once.
func TestRollingSettings(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	look := e.LookOut()
	e.Start()
	e.Set(e.withSettings(steady, 1, 2, 3))
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	w.Wrote(50)
	before := e.members()
	lead := e.memberThatLeads()
	e.Set(e.withSettings(`extra_args: {election-timeout: "2500", max-request-bytes: "2000000"}`, 1, 2, 3))
	w.Wrote(50)
	w.Finish(150)
	e.runsWith("--max-request-bytes=2000000", 1, 2, 3)
	for node, pid := range e.members() {
		if before[node] == pid {
			t.Errorf("%s was not restarted", node)
		}
	}
	got := e.restarted()
	if len(got) != 3 {
		t.Fatalf("restarted %v, want three", got)
	}
	e.NeverBelowQuorum()
	if look.StoodStill(stoodStill) {
		return
	}
	if got[len(got)-1] != lead {
		t.Errorf("restarted %v, want %s, which led, last", got, lead)
	}
	if n := e.CountSteps(plan.MoveLeader); n != 1 {
		t.Errorf("leadership was moved %d times, want once", n)
	}
	for _, r := range e.History() {
		if r.Outcome == record.Failed {
			t.Errorf("a step failed: %s", r)
		}
	}
}

// memberThatLeads is the node whose member leads.
func (e *env) memberThatLeads() string {
	e.t.Helper()
	name := ""
	e.Until("a member leads", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Member != nil && n.Member.Leader {
				name = string(n.Hostname)
				return nil
			}
		}
		return errors.New("none does")
	})
	return name
}

// restarted are the nodes whose members were restarted, in order.
func (e *env) restarted() (nodes []string) {
	e.t.Helper()
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Kind == plan.RestartMember && r.Outcome == record.Done {
			nodes = append(nodes, string(r.Step.Nodes[0]))
		}
	}
	return nodes
}

// TestRollingBadSettings changes a flag to a value that etcd ends at: the first
// member that gets it is rolled back, no other does, everything goes on, and a
// mended spec goes through.
func TestRollingBadSettings(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	before := e.members()
	bad := e.Write("bad.yml", e.withSettings(`extra_args: {election-timeout: "60000"}`, 1, 2, 3))
	e.CLIFails(3, []string{"cluster", "set", bad, "--wait"}, "60000")
	r := e.Reason("settingsFailed", "")
	e.Says("the reason", r.Text+r.Hint, "--election-timeout", "too long", "cluster set")
	e.allServe()
	same := 0
	for node, pid := range e.members() {
		if before[node] == pid {
			same++
		}
	}
	if same != 2 {
		t.Errorf("%d of three members were left alone, want 2", same)
	}

	// All else goes on.
	w.Wrote(50)
	e.CLI("etcd", "user-add", "web", "/web/")
	e.killMember(string(r.Node))
	e.allServe()

	e.Set(e.withSettings(`extra_args: {election-timeout: "2000"}`, 1, 2, 3))
	e.runsWith("--election-timeout=2000", 1, 2, 3)
	w.Wrote(50)
	w.Finish(150)
	e.NeverBelowQuorum()
}

// allServe waits until three members serve, whatever else the plan says.
func (e *env) allServe() {
	e.t.Helper()
	e.Until("all members serve", func(s api.Status) error {
		n := 0
		for _, node := range s.Nodes {
			if node.Member != nil && node.Member.Healthy {
				n++
			}
		}
		if n != 3 {
			return fmt.Errorf("%d serve", n)
		}
		return nil
	})
}

// TestRollingOneMember: a person who changes the settings of a single member is
// told what it costs, and it is done; bad ones are rolled back without quorum.
func TestRollingOneMember(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1)
	e.Set(e.withSettings(`extra_args: {max-request-bytes: "2000000"}`, 1))
	e.runsWith("--max-request-bytes=2000000", 1)
	told := false
	for _, r := range e.History() {
		told = told || r.Step != nil && r.Step.Kind == plan.RestartMember && strings.Contains(r.Step.Reason, "nothing is served")
	}
	if !told {
		t.Error("the interruption was not announced")
	}
	bad := e.Write("bad.yml", e.withSettings(`extra_args: {election-timeout: "60000"}`, 1))
	e.CLIFails(3, []string{"cluster", "set", bad, "--wait"}, "too long")
	e.Until("the member serves again", func(s api.Status) error {
		if m := s.Nodes[0].Member; m == nil || !m.Healthy {
			return errors.New("it does not")
		}
		return nil
	})
	e.runsWith("--max-request-bytes=2000000", 1)
	e.set(1)
}

// TestRollingAuthorities: etcd reads certificate authorities at its start only. A
// member that may have read others than those that are installed is restarted, and
// no other is.
func TestRollingAuthorities(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	before := e.members()
	pki := filepath.Join(e.Dir, "nodes/cp2/etc/cke/etcd/main/pki")
	other, err := os.ReadFile(filepath.Join(pki, "peer-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pki, "client-ca.crt"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Until("the member is restarted", func(s api.Status) error {
		if pid := e.members()["cp2"]; pid == 0 || pid == before["cp2"] || !s.Settled {
			return fmt.Errorf("pid %d, was %d", pid, before["cp2"])
		}
		return nil
	})
	if got := e.restarted(); !slices.Equal(got, []string{"cp2"}) {
		t.Errorf("restarted %v, want cp2 once", got)
	}
	e.NeverBelowQuorum()
}
