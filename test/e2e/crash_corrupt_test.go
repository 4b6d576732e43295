package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// walkCorrupt has members rebuilt that hold other data than the rest: one of three
// that found so itself and does not start, and the leader of five, for which etcd has
// raised the alarm and refuses all writes.
func walkCorrupt(t *testing.T, r *reached) {
	l := &living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r}
	// Who is made leader is to stay it, on a busy machine too.
	l.settings = `quota: 512MiB, extra_args: {compact-hash-check-time: 1s, election-timeout: "2500"}`
	l.Start()
	l.grown(1, 2, 3)
	for i := range 20 {
		l.ask("write a value", func(ctx context.Context) error {
			_, err := l.root.Put(ctx, fmt.Sprintf("/value/%d", i), "some-value")
			return err
		})
	}
	l.Kill()
	l.write()
	l.stopMember("cp2")
	l.corrupt("cp2", "some-value")
	l.rebuildCorrupt(2, l.intact, plan.RemoveMember, plan.RetireMember, plan.AddLearner, plan.InstallUnits, plan.StartMembers, plan.PromoteLearner)

	l.Set(l.withSettings(l.settings, 1, 2, 3, 4, 5))
	l.ids = l.checkCluster(l.root, 1, 2, 3, 4, 5)
	l.Kill()
	l.write()
	l.stopMember("cp5")
	l.corrupt("cp5", "some-value")
	l.startsUnasked("cp5")
	l.Settled()
	l.Kill()
	l.lead(5)
	l.raiseCorrupt()
	l.lead(5) // in case another was elected meanwhile
	// With the alarm etcd lets nobody read either.
	l.rebuildCorrupt(5, l.authStaysOn, plan.MoveLeader, plan.RemoveMember, plan.RetireMember, plan.AddLearner, plan.PromoteLearner, plan.DisarmAlarm)
	l.write()
}

// raiseCorrupt compacts until etcd has found that a member holds other data.
func (l *living) raiseCorrupt() {
	l.t.Helper()
	l.ask("etcd compares what it compacts", func(ctx context.Context) error {
		if list, err := l.root.AlarmList(ctx); err != nil || len(list.Alarms) > 0 {
			return err
		}
		r, err := l.root.Put(ctx, "/value/more", "1")
		if err == nil {
			_, err = l.root.Compact(ctx, r.Header.Revision-1)
		}
		return errors.Join(err, errors.New("no alarm yet"))
	})
}

// rebuildCorrupt has a chain of daemons rebuild a node's member.
func (l *living) rebuildCorrupt(i int, dead func(), kinds ...plan.Kind) {
	l.t.Helper()
	node := fmt.Sprintf("cp%d", i)
	before := l.ids
	l.chain(operation{"rebuild " + node, nil, func(s api.Status) error {
		if now := memberOn(s, cluster.NodeName(node)); now == 0 || now == before[node] || len(s.Alarms) > 0 || !s.Settled {
			return fmt.Errorf("%s carries %s, alarms %v", node, now, s.Alarms)
		}
		return nil
	}, dead}, kinds...)
	nodes := []int{1, 2, 3, 4, 5}[:len(before)]
	l.ids = l.checkCluster(l.root, nodes...)
	l.others(before, node)
	l.onlyData(node, l.ids[node])
	for _, i := range nodes {
		c := l.connect(l.cert, i)
		l.ask("read what was corrupted", func(ctx context.Context) error {
			r, err := c.Get(ctx, "/value/3", clientv3.WithSerializable())
			if err == nil && (len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "some-value") {
				l.t.Errorf("cp%d says %v", i, r.Kvs)
			}
			return err
		})
	}
	if l.t.Failed() {
		l.t.FailNow()
	}
}
