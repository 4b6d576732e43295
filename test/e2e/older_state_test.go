package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// TestOlderState restores a state that is older than the cluster: from before a
// node was swapped and a tenant added. Nobody's keys are given away, the member
// CKE does not know is not removed, and putting the spec right settles it.
func TestOlderState(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	backup := filepath.Join(e.Dir, "cke.state")
	e.CLI("state", "backup", backup)
	e.CLI("etcd", "user-add", "shop", "/shop/")
	shop := e.UserCert("shop")
	put(t, e, shop, "/shop/x", "secret")
	e.set(1, 2, 4)
	e.Stop()
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		t.Fatal(err)
	}
	e.Start("--restore-state", backup)
	e.blocked("memberIsUnknown")
	e.Until("the stranger is seen to serve", func(s api.Status) error {
		if len(s.Strangers) != 1 || !s.Strangers[0].Healthy || s.Tolerance != 1 {
			return fmt.Errorf("strangers %+v, tolerance %d", s.Strangers, s.Tolerance)
		}
		return nil
	})
	for _, args := range [][]string{{"evil", "/shop/"}, {"evil", "/shop/sub/"}, {"evil", "/sho"}, {"shop", "/other/"}} {
		if r := e.Run("ckecli", "etcd", "user-add", args[0], args[1]); r.Code != 3 {
			t.Errorf("user-add %v: exit %d, want 3 (refused)\n%s", args, r.Code, r.Stderr)
		}
	}
	if got := get(t, e, shop, "/shop/x"); got != "secret" {
		t.Errorf("/shop/x = %q", got)
	}
	e.CLI("etcd", "user-add", "shop", "/shop/") // just so: taken over
	e.set(1, 2, 4)
	e.onlyMembersAre(1, 2, 4)
	if n := e.CountSteps(plan.RecordBootstrap); n != 1 {
		t.Errorf("%d bootstraps", n)
	}
}

// TestStateFromBeforeTheFounding restores a state that knows nothing of a
// founding, on hosts whose members have moved on since: no second founding.
func TestStateFromBeforeTheFounding(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	hold := e.hold(1, 2379)
	file := e.Write("cluster.yml", e.clusterYAML(1, 2, 3))
	e.CLI("cluster", "set", file)
	e.blocked("portsMustBeFree")
	backup := filepath.Join(e.Dir, "cke.state")
	e.CLI("state", "backup", backup)
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	e.set(1, 2, 3)
	e.set(4, 5, 6)
	e.Stop()
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		t.Fatal(err)
	}
	e.Start("--restore-state", backup)
	e.blocked("hostCarriedMemberBefore")
	for node := range e.members() {
		if node <= "cp3" {
			t.Errorf("a member runs on %s", node)
		}
	}
}

// TestMixedClusters puts a cluster restored by hand beside a member of the old
// one: CKE touches neither.
func TestMixedClusters(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "local-backup", "--dir", filepath.Join(e.Dir, "backups"))
	files, err := filepath.Glob(filepath.Join(e.Dir, "backups", "*.backup"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	e.Kill()
	left := e.members()["cp3"]
	for _, node := range []string{"cp1", "cp2"} {
		e.killMember(node)
		dirs, _ := e.dataDirs(node)
		if err := os.RemoveAll(filepath.Join(dirs[0], "member")); err != nil {
			t.Fatal(err)
		}
	}
	restored := filepath.Join(e.Dir, "restored")
	url := "https://" + e.addr(1) + ":2380"
	if r := e.Run("etcdutl", "snapshot", "restore", files[0], "--name=cp1", "--initial-cluster=cp1="+url,
		"--initial-advertise-peer-urls="+url, "--data-dir="+restored); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	dirs, _ := e.dataDirs("cp1")
	if err := os.Rename(filepath.Join(restored, "member"), filepath.Join(dirs[0], "member")); err != nil {
		t.Fatal(err)
	}
	e.Start()
	e.blocked("clustersAreMixed")
	if got := e.members()["cp3"]; got != left {
		t.Errorf("cp3's member was touched: pid %d, was %d", got, left)
	}
	if n := e.CountSteps(plan.RetireMember) + e.CountSteps(plan.RemoveMember); n != 0 {
		t.Errorf("%d members were removed or retired", n)
	}
}

// TestMemberKeepsEnding takes a member's port from it: the others go on, the
// reason is shown, history is not flooded, and it starts by itself once it can.
func TestMemberKeepsEnding(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("pause", "--why", "it must not be started in between")
	e.killMember("cp2")
	port := e.hold(2, cluster.ClientPort)
	e.CLI("resume")
	e.Eventually("it is shown as blocked", func() error {
		for _, r := range e.Status().Plan.Reasons {
			if r.Rule == "stepKeepsFailing" && r.Node == "cp2" && strings.Contains(r.Text, "address already in use") {
				return nil
			}
		}
		return fmt.Errorf("plan:\n%s", e.Status().Plan)
	})
	starts := 0
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Kind == plan.StartMembers && len(r.Step.Nodes) == 1 {
			starts++
		}
	}
	if starts > 2 {
		t.Errorf("%d records of starts that did not hold, want them folded", starts)
	}
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	e.Settled()
	e.onlyMembersAre(1, 2, 3)
}
