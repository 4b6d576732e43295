package sim

import (
	"context"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// room is what lies in the database: keys that are there, and history. Each
// replica's file is at least as large, and shrinks only when defragmented.
type room struct {
	live, history       int64
	revision, compacted int64
	noSpace             bool // the alarm is up
}

// fill makes history until a member has reached its quota, for most is the part
// of it, in percent.
func (w *World) fill(percent int64) {
	l := w.lead()
	if l == nil {
		return
	}
	s := &w.raft.room
	s.history = max(s.history, int64(l.proc.unit.Quota)*percent/100-s.live)
	s.revision += 1000
	w.spread()
}

// spread has every serving member's file hold what is there, and raises the alarm
// where there is no room for it.
func (w *World) spread() {
	for _, m := range w.members() {
		p := m.proc
		p.size = max(p.size, w.raft.room.live+w.raft.room.history)
		if p.unit.Quota > 0 && p.size >= int64(p.unit.Quota) && !w.raft.room.noSpace && w.serving() {
			w.logf("etcd: alarm NOSPACE by %s, %d MB of %s", p.unit.Member, p.size>>20, p.unit.Quota)
			w.raft.room.noSpace = true
		}
	}
}

// seenSpace adds to an observation what it tells of room.
func (w *World) seenSpace(s *cluster.EtcdState) {
	r := w.raft.room
	if !s.Quorum || !r.noSpace {
		return
	}
	s.Alarms = []cluster.Alarm{{Kind: cluster.AlarmNoSpace}}
	s.Compaction = &cluster.Compaction{Revision: r.revision, Compacted: r.compacted}
}

// Usage implements observe.Etcd.
func (client) Usage(context.Context, etcd.Endpoint, []string) ([]cluster.PrefixUsage, error) {
	return nil, nil
}

// Compact implements execute.Etcd.
func (e client) Compact(ctx context.Context, via etcd.Endpoint, revision int64) error {
	w := e.c.w
	return e.change(ctx, "compact", via, func() error {
		r := &w.raft.room
		if revision <= r.compacted {
			return rpctypes.ErrCompacted
		}
		r.compacted, r.history = revision, 0
		return nil
	})
}

// Disarm implements execute.Etcd.
func (e client) Disarm(ctx context.Context, via etcd.Endpoint, alarm string) error {
	w := e.c.w
	return e.change(ctx, "disarm "+alarm, via, func() error {
		if alarm == cluster.AlarmCorrupt {
			w.disarmCorrupt()
			return nil
		}
		for _, m := range w.members() {
			if q := int64(m.proc.unit.Quota); m.proc.size*10 >= q*9 && w.raft.at.Sub(m.proc.met) > w.takes() && w.raft.agreed.votes(m.proc.unit.Member) {
				w.violate("disarmedOnlyWithRoom", "the alarm is disarmed while %s has %d MB of %d", m.name(), m.proc.size>>20, q>>20)
			}
		}
		w.raft.room.noSpace = false
		w.spread()
		return nil
	})
}

// Defragment implements execute.Etcd. The member stands still meanwhile.
func (e client) Defragment(ctx context.Context, ep etcd.Endpoint) error {
	w := e.c.w
	return e.membership(ctx, "defragment "+string(ep), ep, func() error {
		m := w.byClientURL(string(ep))
		id := m.proc.unit.Member
		if !w.mayInterrupt(m) {
			w.judgeRest(ctx, e.c, m, "defragmented")
		}
		w.judgeDefragStep(ctx, e.c, id)
		w.logf("%s: %s is defragmented from %d to %d MB", m.name(), id, m.proc.size>>20, (w.raft.room.live+w.raft.room.history)>>20)
		m.proc.size = w.raft.room.live + w.raft.room.history
		return nil
	})
}

// ForgetDefrag implements execute.Store.
func (s store) ForgetDefrag(ctx context.Context, _ string, n cluster.NodeName) error {
	f := &s.c.w.shelf
	return s.change(ctx, "forget the wish to defragment "+string(n), func() error {
		f.defrag = slices.DeleteFunc(slices.Clone(f.defrag), func(r cluster.DefragRequest) bool { return r.Node == n })
		return nil
	})
}

// askDefrag is a person's wish.
func (w *World) askDefrag(n cluster.NodeName) {
	f := &w.shelf
	if !slices.ContainsFunc(f.defrag, func(r cluster.DefragRequest) bool { return r.Node == n }) {
		f.defrag = append(slices.Clone(f.defrag), cluster.DefragRequest{Node: n, By: "ada", At: time.Now()})
		w.wake()
	}
}
