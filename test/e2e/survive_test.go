package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cke/internal/plan"
)

// TestMemberKilled: a member that dies is back without help, one after another.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		before := e.Settled()
		w.Wrote(20)
		e.killMember(node)
		e.Eventually(node+" serves again", func() error {
			if _, ok := e.members()[node]; !ok {
				return fmt.Errorf("no process")
			}
			if s := e.Status(); !s.Settled || !s.ObservedAt.After(before.ObservedAt) {
				return fmt.Errorf("plan:\n%s", s.Plan)
			}
			return nil
		})
	}
	w.Finish(60)
	if n := e.CountSteps(plan.RemoveMember) + e.CountSteps(plan.AddLearner); n != 0 {
		t.Errorf("%d membership changes for members that only had to be started", n)
	}
}

// TestEverythingStops: all is killed, started again, and is the same cluster
// with the same data; no certificate was reissued for it.
func TestEverythingStops(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	id := e.Settled().ClusterID
	cert := e.UserCert("app")
	put(t, e, cert, "/app/x", "1")
	e.Kill()
	for node := range e.members() {
		e.killMember(node)
	}
	e.Start()
	if s := e.Settled(); s.ClusterID != id {
		t.Errorf("cluster id %s, was %s", s.ClusterID, id)
	}
	if got := get(t, e, cert, "/app/x"); got != "1" {
		t.Errorf("/app/x = %q after the restart", got)
	}
	if n := e.CountSteps(plan.RecordBootstrap); n != 1 {
		t.Errorf("%d bootstraps", n)
	}
	if n := e.CountSteps(plan.InstallCertificates); n != 1 {
		t.Errorf("certificates were installed %d times", n)
	}
}

// TestWipedWhileAway: a data directory wiped while CKE is down is not started on
// by anyone, and rebuilt as a learner when CKE is back.
func TestWipedWhileAway(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	cert := e.UserCert("app")
	put(t, e, cert, "/app/x", "1")
	before := e.MemberID("cp2")
	e.Kill()
	e.killMember("cp2")
	e.wipe("cp2")
	e.Start()
	e.onlyMembersAre(1, 2, 3)
	if after := e.MemberID("cp2"); after == before {
		t.Errorf("cp2 is still member %s: a voter that forgot its votes", after)
	}
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner} {
		if n := e.CountSteps(k); n != 1 {
			t.Errorf("%d times %s, want once", n, k)
		}
	}
	if got := get(t, e, cert, "/app/x"); got != "1" {
		t.Errorf("/app/x = %q", got)
	}
}

// TestAllWiped: three members wiped at once start nothing.
func TestAllWiped(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.Kill()
	for node := range e.members() {
		e.killMember(node)
		e.wipe(node)
	}
	e.Start()
	e.blocked("restoreIsNeeded")
	e.nothingRuns()
	if r := e.Run("ckecli", "cluster", "set", filepath.Join(e.Dir, "cluster.yml"), "--wait"); r.Code != 3 {
		t.Errorf("cluster set --wait: exit %d, want 3 (refused)\n%s", r.Code, r.Stderr)
	}
}

// TestReplaceAllWhileOldOnesAreGone: never an empty cluster.
func TestReplaceAllWhileOldOnesAreGone(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.Kill()
	for node := range e.members() {
		e.killMember(node)
		if err := os.RemoveAll(filepath.Join(e.Dir, "nodes", node)); err != nil {
			t.Fatal(err)
		}
	}
	e.Start()
	r := e.Run("ckecli", "cluster", "set", e.Write("cluster.yml", e.clusterYAML(4, 5, 6)), "--wait")
	if r.Code != 3 {
		t.Errorf("cluster set --wait: exit %d, want 3 (refused)\n%s", r.Code, r.Stderr)
	}
	e.blocked("restoreIsNeeded")
	e.nothingRuns()
}

// TestStoreEmptied: a CKE that lost its store does not touch living members.
func TestStoreEmptied(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	cert := e.UserCert("app")
	put(t, e, cert, "/app/x", "1")
	pids := e.members()
	e.Stop()
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		t.Fatal(err)
	}
	e.Start()
	r := e.Run("ckecli", "cluster", "set", e.Write("cluster.yml", e.clusterYAML(1, 2, 3)), "--wait")
	if r.Code != 3 {
		t.Errorf("cluster set --wait: exit %d, want 3 (refused)\n%s", r.Code, r.Stderr)
	}
	e.blocked("dataWithoutRecord")
	for node, pid := range pids {
		if got := e.members()[node]; got != pid {
			t.Errorf("the member on %s was touched: pid %d, was %d", node, got, pid)
		}
	}
	if got := get(t, e, cert, "/app/x"); got != "1" {
		t.Errorf("/app/x = %q", got)
	}
}

// nothingRuns watches for a while of CKE's own looks that no member is started.
func (e *env) nothingRuns() {
	e.t.Helper()
	first := e.Status().ObservedAt
	e.Eventually("CKE looks twice more", func() error {
		if m := e.members(); len(m) > 0 {
			e.t.Fatalf("members run: %v", m)
		}
		if s := e.Status(); s.ObservedAt.Sub(first) < 4*time.Second {
			return fmt.Errorf("last look at %s", s.ObservedAt)
		}
		return nil
	})
}
