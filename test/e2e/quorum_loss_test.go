package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestQuorumLossPage: two of three members are killed while a tenant writes, and
// lose their data. CKE takes no step, says what is where, and a person who types the
// page's commands has the same cluster of three again, with every write in it but,
// perhaps, the last: the survivor may not have heard that it was acknowledged.
func TestQuorumLossPage(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	cert, before, survivor := e.UserCert("app"), e.Settled(), e.MemberID("cp1")
	w := e.writesInTurn(cert)
	w.wrote(100)

	e.Kill()
	e.killMember("cp2")
	w.wrote(10) // which needs the survivor, so that it has not fallen behind
	e.killMember("cp3")
	acked := w.stop()
	e.wipe("cp2")
	e.wipe("cp3")
	e.Start()
	s := e.blocked("restoreIsNeeded")
	e.Says("what is left", s.Plan.String(), "docs/quorum-loss.md",
		"cp1: member "+survivor.String()+" runs", "log committed to index",
		"cp2: data of member "+e.oldMember(before, "cp2").String()+" is gone from this host")

	page := drive.ReadPage(t, "quorum-loss.md")
	e.typed(page.Commands("## 1. Look what there is") + page.Commands("## 2. Hold CKE back"))
	e.Says("while paused", e.blocked("clusterIsPaused").Plan.String(), "whichDataIsWhere cp1: member "+survivor.String())
	out := e.typed(page.Commands("### With `cke dev`", "ADDRESS="+e.addr(1), "MEMBER="+survivor.String(), "ROOT="+e.Dir+"/nodes/cp1"))
	e.Says("etcdutl", out, "REVISION")
	e.typed(page.Commands("## 4. Let CKE go on"))

	e.onlyMembersAre(1, 2, 3)
	after := e.Settled()
	if after.ClusterID != before.ClusterID || e.MemberID("cp1") != survivor {
		t.Errorf("cluster %s with %s on cp1, was %s with %s", after.ClusterID, e.MemberID("cp1"), before.ClusterID, survivor)
	}
	if e.MemberID("cp2") == e.oldMember(before, "cp2") {
		t.Error("cp2 is still the voter that forgot its votes")
	}
	keys := e.keys(cert, 1)
	for i := 1; i <= 3; i++ {
		if n := e.keys(cert, i); n != keys || n < acked-1 {
			t.Errorf("%d keys through cp%d, %d writes were acknowledged", n, i, acked)
		}
	}
	t.Logf("%d of %d acknowledged writes are there", min(keys, acked), acked)
	if n := e.CountSteps(plan.RecordBootstrap); n != 1 {
		t.Errorf("%d bootstraps", n)
	}
	e.NeverBelowQuorum()

	backup := strings.TrimSpace(e.typed("ckecli etcd local-backup --dir . >/dev/null && ls etcd-*.backup"))
	found := e.typed(page.Commands("## When only a backup is left", "BACKUP="+backup, "ADDRESS="+e.addr(1), "PKI="+e.Dir+"/nodes/cp1/etc/cke/etcd/main/pki"))
	if n := int64(strings.Count(found, "/app/")); n != keys {
		t.Errorf("%d keys in the restored backup, were %d", n, keys)
	}
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

// turns are writes of which each begins when the one before was acknowledged.
type turns struct {
	e     *env
	acked atomic.Int64
	end   context.CancelFunc
	done  chan struct{}
}

// writesInTurn writes keys as a tenant until it is stopped.
func (e *env) writesInTurn(c api.Certificate) *turns {
	e.t.Helper()
	cl := e.connect(c, 1, 2, 3)
	ctx, cancel := context.WithCancel(context.Background())
	e.t.Cleanup(cancel)
	w := &turns{e: e, end: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			put, end := context.WithTimeout(ctx, 2*time.Second)
			_, err := cl.Put(put, fmt.Sprintf("/app/%d", w.acked.Load()), "1")
			end()
			if err == nil {
				w.acked.Add(1)
			}
		}
	}()
	return w
}

// wrote waits until so many more were acknowledged.
func (w *turns) wrote(more int64) {
	w.e.t.Helper()
	want := w.acked.Load() + more
	w.e.Eventually("writes go on", func() error {
		if n := w.acked.Load(); n < want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
}

// stop ends them and tells how many were acknowledged.
func (w *turns) stop() int64 {
	w.end()
	<-w.done
	return w.acked.Load()
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

// keys counts a tenant's keys.
func (e *env) keys(c api.Certificate, nodes ...int) (count int64) {
	e.t.Helper()
	cl := e.connect(c, nodes...)
	e.ask("count keys", func(ctx context.Context) error {
		resp, err := cl.Get(ctx, "/app/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			count = resp.Count
		}
		return err
	})
	return count
}
