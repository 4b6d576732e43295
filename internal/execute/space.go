package execute

import (
	"context"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/plan"
)

// defragTimeout is far beyond what any database takes; a member that is not done
// by then goes on, and is cared for again when it answers.
const defragTimeout = 30 * time.Minute

// compact drops history.
type compact struct{ target }

func (a compact) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	return err == nil && e.Compaction != nil && e.Compaction.Compacted >= a.step.Revision, err
}

func (a compact) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdCompact, func() error { return a.x.o.Etcd.Compact(ctx, via, a.step.Revision) })
}

// defragment has one member give free pages back. What a person asked for is done
// whatever there is to give: the request is dropped last, and cke killed in
// between does it once more.
type defragment struct{ target }

// littleFree is what a database has free right after it was defragmented, at most.
const littleFree = 0.02

func (a defragment) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	if err != nil || a.asked() {
		return false, err
	}
	m, ok := e.Member(a.step.Member)
	return !ok || float64(plan.Free(e, m)) < littleFree*float64(m.DBSize), nil
}

func (a defragment) asked() bool {
	for _, r := range a.w.Defrag {
		if r.Node == a.step.Nodes[0] {
			return true
		}
	}
	return false
}

func (a defragment) Do(ctx context.Context) error {
	e, err := a.membership(ctx)
	if err != nil {
		return err
	}
	m, _ := e.Member(a.step.Member) // the guard has found it
	ep, ok := etcd.Of(a.w.Nodes(), m.PeerURL)
	if !ok {
		return fmt.Errorf("member %s is on no known node", m.ID)
	}
	if err := a.does(EtcdDefragment, func() error { return a.x.o.Etcd.Defragment(ctx, ep) }); err != nil || !a.asked() {
		return err
	}
	return a.store().ForgetDefrag(ctx, a.cluster(), a.step.Nodes[0])
}

// forgetDefrag drops a request that nobody can meet.
type forgetDefrag struct{ defragment }

func (a forgetDefrag) Done(context.Context) (bool, error) { return !a.asked(), nil }

func (a forgetDefrag) Do(ctx context.Context) error {
	return a.store().ForgetDefrag(ctx, a.cluster(), a.step.Nodes[0])
}

// disarmAlarm takes an alarm down.
type disarmAlarm struct{ target }

func (a disarmAlarm) Done(ctx context.Context) (bool, error) {
	e, err := a.membership(ctx)
	if err != nil || !e.Alarmed(a.step.Alarm) {
		return err == nil, err
	}
	if a.step.Alarm == cluster.AlarmCorrupt {
		err = a.sound(ctx, e)
	}
	return false, err
}

func (a disarmAlarm) Do(ctx context.Context) error {
	_, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	return a.does(EtcdDisarm, func() error { return a.x.o.Etcd.Disarm(ctx, via, a.step.Alarm) })
}
