package sim

import (
	"context"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// Data that went bad: a member's keys and values are not what was agreed, its log is.
// etcd compares the members' data at each compaction (etcdserver/corrupt.go).

// compareMost is how long it takes until somebody compares.
const compareMost = 20 * time.Second

// corruption is what etcd has found.
type corruption struct {
	alarms []cluster.MemberID // about whom; 0: it cannot tell
	due    time.Time          // when the leader compares next
	began  time.Time          // when some data went bad last
	raised time.Time
	kinds  uint32 // of bad data there ever were
}

// corrupt makes the data of the machine's member bad, unless too little that is right
// would be left for anybody to tell which it is.
func (m *machine) corrupt() {
	w := m.w
	if m.unit == nil || !m.seals[m.unit.Member] || !m.hasData(m.unit.Member) || w.shelf.boot.Phase != cluster.PhaseBootstrapped {
		return
	}
	r := m.dirs[m.unit.Member]
	if m.running(m.unit.Member) {
		r = m.proc.replica
	}
	was := r.bad
	w.raft.corruption.kinds++
	if r.bad = w.raft.corruption.kinds; w.doomed() || len(w.raft.corruption.alarms) > 0 {
		r.bad = was
		return
	}
	w.raft.corruption.began = w.raft.at
	w.logf("    the data of %s is bad now", m.unit.Member)
}

// settleCorruption is the leader that compares.
func (w *World) settleCorruption() {
	c, l := &w.raft.corruption, w.lead()
	if l == nil {
		return
	}
	var all []*process
	for _, m := range w.members() {
		if m.proc.token == l.proc.token && l.proc.cfg.votes(m.proc.unit.Member) {
			all = append(all, m.proc)
		}
	}
	differs := func(p *process) bool { return p.bad != l.proc.bad }
	switch {
	case !slices.ContainsFunc(all, differs), len(c.alarms) > 0:
		c.due = time.Time{}
	case c.due.IsZero():
		c.due = w.raft.at.Add(w.between("compare", 0, compareMost))
	case !w.raft.at.Before(c.due):
		c.alarms, c.raised = w.accused(all, l.proc.cfg.quorum()), w.raft.at
		w.logf("etcd: alarm CORRUPT about %v", c.alarms)
	}
}

// accused are those whose data is not that of a quorum; nobody by name where no
// quorum has the same.
func (w *World) accused(all []*process, quorum int) (ids []cluster.MemberID) {
	for _, right := range all {
		ids = nil
		for _, p := range all {
			if p.bad != right.bad {
				ids = append(ids, p.unit.Member)
			}
		}
		if len(all)-len(ids) >= quorum {
			return ids
		}
	}
	return []cluster.MemberID{0}
}

// inconsistent: a member that starts compares its data with that of its peers.
func (m *machine) inconsistent(u cluster.Unit) bool {
	r := m.dirs[u.Member]
	if r == nil || r.ran == "" || m.isolated || m.cut() || m.mistimed() {
		return false
	}
	return slices.ContainsFunc(m.w.members(), func(o *machine) bool { return o != m && o.proc.token == r.token && o.proc.bad != r.bad })
}

// seenCorruption adds to an observation what etcd has found.
func (w *World) seenCorruption(s *cluster.EtcdState) {
	for _, id := range w.raft.corruption.alarms {
		s.Alarms = append(s.Alarms, cluster.Alarm{Member: id, Kind: cluster.AlarmCorrupt})
	}
}

// Hashes implements observe.Etcd.
func (e client) Hashes(ctx context.Context, members []cluster.Member, nodes []cluster.Node) []cluster.MemberHash {
	w := e.c.w
	var hashes []cluster.MemberHash
	var eps []etcd.Endpoint
	for _, m := range members {
		if ep, known := etcd.Of(nodes, m.PeerURL); known && !m.Learner {
			hashes, eps = append(hashes, cluster.MemberHash{Member: m.ID, Err: "connection refused"}), append(eps, ep)
		}
	}
	err := e.ask(ctx, "hashes", eps, askTimeout, func() {
		for i, ep := range eps {
			m := w.byClientURL(string(ep))
			if m != nil && m.answers() && !w.raft.at.Before(m.proc.up) && m.proc.unit.Member == hashes[i].Member {
				hashes[i] = cluster.MemberHash{Member: hashes[i].Member, Revision: w.raft.room.revision, Compacted: w.raft.room.compacted, Hash: 0xc0ffee00 + m.proc.bad}
			}
		}
	})
	if err != nil {
		return nil
	}
	return hashes
}

// disarmCorrupt takes the alarm down.
func (w *World) disarmCorrupt() {
	w.judgeDisarmCorrupt()
	w.raft.corruption.alarms = nil
}

// mendData is what a person does who is told that it cannot be known which of the
// members' data is right: he knows it, stops the one that is wrong and throws its
// data away.
func (w *World) mendData() {
	id, differs := w.dataDiffers()
	for _, m := range w.all() {
		if differs && m.unit != nil && m.unit.Member == id {
			w.logf("a person throws the data of %s away", id)
			m.runs++ // its machine does not start it again
			if m.proc != nil {
				m.stopped("signal: terminated")
			}
			delete(m.dirs, id)
		}
	}
}
