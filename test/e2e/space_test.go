package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/etcd"
	"cke/internal/plan"
	"cke/test/drive"
)

// etcdYAML is a cluster.yml with other settings of etcd.
func (e *env) etcdYAML(etcd string, nodes ...int) string {
	return strings.Replace(e.clusterYAML(nodes...), "etcd: {quota: 512MiB}", "etcd: {"+etcd+"}", 1)
}

// newEtcdCluster is a settled cluster with other settings of etcd and a tenant
// app, and a client of that.
func newEtcdCluster(t *testing.T, etcd string, nodes ...int) (*env, *clientv3.Client) {
	t.Helper()
	e := newEnv(t)
	e.Start()
	e.Set(e.etcdYAML(etcd, nodes...))
	e.CLI("etcd", "user-add", "app", "/app/")
	app := e.connect(e.UserCert("app"), nodes...)
	return e, app
}

func (e *env) try(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	return do(ctx)
}

// hasRoom checks that no alarm is up and every member is below 90 % of its quota.
func (e *env) hasRoom(s api.Status) {
	e.t.Helper()
	if len(s.Alarms) > 0 {
		e.t.Errorf("alarms %v", s.Alarms)
	}
	for _, n := range s.Nodes {
		if m := n.Member; m == nil || m.DBSize >= m.Quota*9/10 {
			e.t.Errorf("%s: %+v", n.Hostname, m)
		}
	}
}

// TestNoSpaceHeals: history fills the quota; writes are let in again by themselves.
func TestNoSpaceHeals(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 32MiB, "+steady, 1, 2, 3)
	look := e.LookOut()
	e.FillUp(app, func(n int) string { return fmt.Sprintf("/app/%d", n%4) })
	e.Eventually("writes are let in again", func() error {
		return e.try(func(ctx context.Context) error {
			_, err := app.Put(ctx, "/app/after", "1")
			return err
		})
	})
	s := e.Settled()
	e.hasRoom(s)
	if !s.Healthy {
		t.Errorf("not healthy: %+v", s.Alarms)
	}
	if got := get(t, e, e.UserCert("app"), "/app/3"); len(got) != 256<<10 {
		t.Errorf("/app/3 has %d bytes", len(got))
	}
	if n := e.CountSteps(plan.Defragment); n != 3 {
		t.Errorf("%d defragmentations of three members", n)
	}
	if n := e.CountSteps(plan.DisarmAlarm); n != 1 {
		t.Errorf("disarmed %d times", n)
	}
	if n := e.CountSteps(plan.MoveLeader); n != 1 && !look.StoodStill(stoodStill) {
		t.Errorf("leadership was moved %d times, want once", n)
	}
}

// TestNoSpaceInAClusterOfOne: it stands still for a moment and says so.
func TestNoSpaceInAClusterOfOne(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 16MiB", 1)
	e.FillUp(app, func(int) string { return "/app/x" })
	e.hasRoom(e.Until("it heals", func(s api.Status) error {
		if !s.Settled || e.CountSteps(plan.DisarmAlarm) == 0 {
			return errors.New("not yet")
		}
		return nil
	}))
	e.Says("history", e.CLI("history", "-n", "20"), "the cluster stands still")
}

// TestLiveDataExceedsTheQuota: CKE says whose data it is and which quota would do;
// deleting some heals it, and so does a larger quota.
func TestLiveDataExceedsTheQuota(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 32MiB", 1, 2, 3)
	for n := range 50 { // they are not what the data is in
		e.ask("write a small value", func(ctx context.Context) error {
			_, err := app.Put(ctx, fmt.Sprintf("/app/%d", n), "small")
			return err
		})
	}
	r := e.Overfill(app, "/app/big/")
	e.Says("the reason", r.Text, "the most is under /app/big/ about", "MiB in", ", /app/ about", "in 50 keys", "32MiB", "writes are refused")
	e.Says("the hint", r.Hint, "set etcd.quota in cluster.yml to 64MiB")
	e.Until("the alarm is up and told of", func(s api.Status) error { // one look may come to nothing
		if text := e.CLI("status"); len(s.Alarms) == 0 || !strings.Contains(text, "NOT healthy: alarm NOSPACE") {
			return fmt.Errorf("alarms %v, status:\n%s", s.Alarms, text)
		}
		return nil
	})
	e.ask("delete some", func(ctx context.Context) error {
		_, err := app.Delete(ctx, "/app/big/1", clientv3.WithPrefix()) // 1, 10 to 19, 100…
		return err
	})
	e.hasRoom(e.Settled())

	e.Overfill(app, "/app/more/")
	e.Set(e.etcdYAML("quota: 128MiB", 1, 2, 3))
	s := e.Settled()
	e.hasRoom(s)
	if m := s.Nodes[0].Member; m == nil || m.Quota != 128<<20 {
		t.Errorf("the quota is not in force: %+v", m)
	}
}

// churn writes 48 MiB in four keys and drops the history.
func (e *env) churn(app *clientv3.Client, nodes ...int) {
	e.t.Helper()
	value := strings.Repeat("y", 256<<10)
	var rev int64
	for n := range 192 {
		e.ask("write 256 KiB", func(ctx context.Context) error {
			r, err := app.Put(ctx, fmt.Sprintf("/app/churn/%d", n%4), value)
			if err == nil {
				rev = r.Header.Revision
			}
			return err
		})
	}
	root := e.connect(e.RootCert(), nodes...)
	e.ask("drop the history", func(ctx context.Context) error {
		_, err := root.Compact(ctx, rev, clientv3.WithCompactPhysical())
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil // by the attempt before
		}
		return err
	})
}

// TestRoutineDefragmentation: what is free is given back, in the window, and no
// client loses quorum over it.
func TestRoutineDefragmentation(t *testing.T) {
	t.Parallel()
	const routine = "quota: 512MiB, " + steady + ", defrag: {min_free: 16MiB"
	closed := time.Now().UTC().AddDate(0, 0, 3).Format("Mon")
	e, app := newEtcdCluster(t, routine+fmt.Sprintf(", window: %s 02:00-04:00}", closed), 1, 2, 3)
	look := e.LookOut()
	w := e.startLoad(1, 2, 3)
	e.churn(app, 1, 2, 3)
	r := e.Reason("defragmentationAwaitsWindow", "")
	e.Says("the reason", r.Text, closed+" 02:00-04:00", "T02:00:00Z")
	if s := e.Settled(); !s.Healthy {
		t.Error("waiting for the window, the cluster is not healthy")
	}
	if n := e.CountSteps(plan.Defragment); n != 0 {
		t.Errorf("%d defragmentations outside the window", n)
	}
	e.CLI("cluster", "set", e.Write("cluster.yml", e.etcdYAML(routine+"}", 1, 2, 3)))
	e.Until("every member has given back", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Member == nil || n.Member.DBSize > 16<<20 {
				return fmt.Errorf("%s: %+v", n.Hostname, n.Member)
			}
		}
		return nil
	})
	e.Settled()
	w.Finish(50)
	if n := e.CountSteps(plan.Defragment); n != 3 {
		t.Errorf("%d defragmentations of three members", n)
	}
	if n := e.CountSteps(plan.MoveLeader); n != 1 && !look.StoodStill(stoodStill) {
		t.Errorf("leadership was moved %d times, want once", n)
	}
}

// TestSoleVoterIsDefragmentedWhenAsked: CKE does not stop a cluster of one unasked.
func TestSoleVoterIsDefragmentedWhenAsked(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 512MiB, defrag: {min_free: 16MiB}", 1)
	e.churn(app, 1)
	r := e.Reason("defragmentationIsForAPerson", "cp1")
	e.Says("the hint", r.Hint, "ckecli etcd defrag cp1")
	if s := e.Settled(); s.Nodes[0].Member.DBSize < 40<<20 {
		t.Errorf("it was defragmented unasked: %d bytes", s.Nodes[0].Member.DBSize)
	}
	e.Says("defrag", e.CLI("etcd", "defrag", "cp1"), "the cluster stands still meanwhile")
	e.Until("it has given back", func(s api.Status) error {
		if m := s.Nodes[0].Member; m == nil || m.DBSize > 16<<20 {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
	e.Settled()
	e.Says("history", e.CLI("history", "-n", "20"), "defrag cp1", "the cluster stands still")
	if n := e.CountSteps(plan.Defragment); n != 1 {
		t.Errorf("%d defragmentations, want one", n)
	}
	e.CLIFails(1, []string{"etcd", "defrag", "cp9"}, "no member on a node")
}

// TestCompactionTellsWhatItFreed: with NOSPACE nobody writes, and a member may learn only
// with another write what a compaction has freed; CKE does not wait for one.
func TestCompactionTellsWhatItFreed(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 32MiB", 1)
	e.CLI("pause")
	e.FillUp(app, func(n int) string { return fmt.Sprintf("/app/%d", n%4) })
	cert := e.RootCert()
	client := etcd.New(etcd.Options{TLS: drive.TLS(t, cert), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = client.Close() }) // nothing is lost with it
	root, at := e.connect(cert, 1), "https://"+e.addr(1)+":2379"
	if err := e.try(func(ctx context.Context) error {
		got, err := app.Get(ctx, "/app/0")
		if err != nil {
			return err
		}
		return client.Compact(ctx, etcd.Endpoint(at), got.Header.Revision)
	}); err != nil {
		t.Fatal(err)
	}
	e.Eventually("the member knows", func() error {
		return e.try(func(ctx context.Context) error {
			s, err := root.Status(ctx, at)
			if err == nil && s.DbSizeInUse > s.DbSize/2 {
				err = fmt.Errorf("of %d bytes it uses %d", s.DbSize, s.DbSizeInUse)
			}
			return err
		})
	})
}
