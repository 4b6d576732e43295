package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestQuorumLossPage: two of three members lose their data. CKE takes no step, says
// what is where, and a person who types the page's commands has the same cluster
// of three again, with every write in it.
func TestQuorumLossPage(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	w := e.startLoad(1, 2, 3)
	w.Wrote(100)
	w.Finish(100)
	cert := e.UserCert("app")
	before := e.Until("every member knows of every write", sameIndex)
	keys, revision := e.keys(cert, 1, 2, 3)
	survivor := e.MemberID("cp1")

	e.Kill()
	for _, node := range []string{"cp2", "cp3"} {
		e.killMember(node)
		e.wipe(node)
	}
	e.Start()
	s := e.blocked("restoreIsNeeded")
	e.Says("what is left", s.Plan.String(), "docs/quorum-loss.md",
		"cp1: member "+survivor.String()+" runs", "log committed to index",
		"cp2: data of member "+e.oldMember(before, "cp2").String()+" is gone from this host")

	page := drive.ReadPage(t, "quorum-loss.md")
	e.typed(page.Commands("## 1. Look what there is") + page.Commands("## 2. Hold CKE back"))
	out := e.typed(page.Commands("### With `cke dev`", "ADDRESS="+e.addr(1), "MEMBER="+survivor.String(), "ROOT="+e.Dir+"/nodes/cp1"))
	e.Says("etcdutl", out, "REVISION", fmt.Sprint(revision))
	e.typed(page.Commands("## 4. Let CKE go on"))

	e.onlyMembersAre(1, 2, 3)
	after := e.Settled()
	if after.ClusterID != before.ClusterID || e.MemberID("cp1") != survivor {
		t.Errorf("cluster %s with %s on cp1, was %s with %s", after.ClusterID, e.MemberID("cp1"), before.ClusterID, survivor)
	}
	if e.MemberID("cp2") == e.oldMember(before, "cp2") {
		t.Error("cp2 is still the voter that forgot its votes")
	}
	for i := 1; i <= 3; i++ {
		if n, _ := e.keys(cert, i); n != keys {
			t.Errorf("%d keys through cp%d, were %d", n, i, keys)
		}
	}
	if n := e.CountSteps(plan.RecordBootstrap); n != 1 {
		t.Errorf("%d bootstraps", n)
	}
	e.NeverBelowQuorum()
}

// typed runs a script of a page, which must succeed.
func (e *env) typed(script string) string {
	e.t.Helper()
	r := e.Type(script)
	if r.Code != 0 {
		e.t.Fatalf("exit %d of\n%s\n%s%s", r.Code, script, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// sameIndex: in a quiet cluster, all know the last write to be committed.
func sameIndex(s api.Status) error {
	var said []string
	indexes := map[uint64]bool{}
	for _, n := range s.Nodes {
		if n.Member == nil || !n.Member.Healthy {
			return errors.New("a member does not serve")
		}
		indexes[n.Member.RaftIndex] = true
		said = append(said, fmt.Sprint(n.Member.RaftIndex))
	}
	if len(indexes) != 1 {
		return errors.New("indexes " + strings.Join(said, ", "))
	}
	return nil
}

func (e *env) oldMember(s api.Status, node cluster.NodeName) cluster.MemberID {
	e.t.Helper()
	for _, n := range s.Nodes {
		if n.Hostname == node && n.Member != nil {
			return n.Member.ID
		}
	}
	e.t.Fatalf("%s carried no member", node)
	return 0
}

// keys counts a tenant's keys, and tells the revision they were read at.
func (e *env) keys(c api.Certificate, nodes ...int) (count, revision int64) {
	e.t.Helper()
	cl := e.connect(c, nodes...)
	e.Eventually("count keys", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		resp, err := cl.Get(ctx, "/app/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			count, revision = resp.Count, resp.Header.Revision
		}
		return err
	})
	return count, revision
}
