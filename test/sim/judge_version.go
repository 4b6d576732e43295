package sim

import (
	"time"

	"cke/internal/cluster"
)

// What no cke may do to the versions of etcd.

// snapshotAge is how old a snapshot may be when the first member changes its version:
// what the product allows, what a look and a slow host take, and by how much the clocks
// by which it was written and read may differ.
const snapshotAge = 12*time.Minute + 4*mostWrong

// judgeVersion is of a start by a daemon.
func (w *World) judgeVersion(m *machine, u cluster.Unit) {
	r := m.dirs[u.Member]
	if _, member := w.raft.agreed.find(u.Member); r == nil || r.ran == "" || !member {
		return // who was removed unawares ends however it is started
	}
	lately := w.raft.at.Sub(w.raft.line.changed) < w.takes()
	if m.tooOld(u) && !lately {
		w.violate("noStartOnNewerData", "member %s is started with etcd %s, and its data or the cluster is of a newer line (%s, %s)", u.Member, u.Version, r.storage, w.raft.line.version)
	}
	if r.ran == u.Version || !w.raft.agreed.votes(u.Member) || w.rollsBack(m) {
		return
	}
	if why := cluster.VersionPath(r.ran, u.Version); why != "" {
		w.violate("versionsInOrder", "member %s: %s", u.Member, why)
	}
	if w.shelf.boot.Phase != cluster.PhaseBootstrapped {
		return // nobody has a certificate yet: there is nothing that a snapshot would save
	}
	if s := w.shelf.snapshot; !w.runBySome(u.Version) && (s == nil || s.To != u.Version || time.Since(s.At) > snapshotAge) {
		w.violate("snapshotFirst", "member %s is the first to go from etcd %s to %s, and the last snapshot is %+v", u.Member, r.ran, u.Version, s)
	}
}

func (w *World) rollsBack(m *machine) bool {
	r := w.shelf.restart
	return r != nil && r.Failed != "" && r.Node == m.name()
}

// runBySome: a voter runs this version, or did when it was last up.
func (w *World) runBySome(version string) bool {
	all := w.replicas()
	for _, p := range w.raft.agreed.voters() {
		if r := all[p.id]; r != nil && r.ran == version {
			return true
		}
	}
	return false
}

// judgeDowngrade: nobody is away who would have to go along.
func (w *World) judgeDowngrade(to string) {
	if serve, voters := w.servingVoters(0), len(w.raft.agreed.voters()); serve < voters {
		w.violate("downgradeOnlyWhenAllServe", "the downgrade to %s is enabled while %d of %d voters serve", to, serve, voters)
	}
}
