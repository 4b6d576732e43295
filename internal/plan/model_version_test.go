package plan

import (
	"cke/internal/cluster"
)

// olderVersion is of the line before that of the default.
const olderVersion = "3.6.16"

func releases() []cluster.Release {
	return []cluster.Release{{Version: olderVersion, Arch: "amd64"}, {Version: cluster.DefaultVersion, Arch: "amd64"}}
}

// tooOld: etcd refuses data of a newer line, and a cluster of one.
func (s *sim) tooOld(u cluster.Unit) bool { return cluster.MinorOf(u.Version).Before(s.raft.version) }

// settleVersion is the leader's monitor (etcdserver/version/monitor.go): the
// cluster's version is the lowest of its members', once all are known, unless they
// are to go down.
func (s *sim) settleVersion() {
	r := &s.raft
	running := map[cluster.MemberID]cluster.Minor{}
	for _, p := range s.connected() {
		running[p.unit.Member] = cluster.MinorOf(p.unit.Version)
	}
	var lowest, highest cluster.Minor
	for _, m := range r.agreed {
		v, known := running[m.id]
		if !known {
			return
		}
		if (lowest == cluster.Minor{}) || v.Before(lowest) {
			lowest = v
		}
		if highest.Before(v) {
			highest = v
		}
	}
	switch none := (cluster.Minor{}); {
	case r.downgrade == none && r.version.Before(lowest):
		r.version = lowest
	case r.downgrade != none && r.version == r.downgrade && highest == r.downgrade:
		r.downgrade = none // done
	case r.downgrade != none && r.downgrade.Before(r.version) && r.downgrade.Before(lowest):
		r.version = r.downgrade
	}
}

// enableDowngrade is refused for what is not one line below the cluster's version.
func (s *sim) enableDowngrade(to cluster.Minor) error {
	if s.raft.downgrade != (cluster.Minor{}) || s.raft.version != (cluster.Minor{Major: to.Major, Minor: to.Minor + 1}) {
		return errRefused
	}
	s.raft.downgrade = to
	return nil
}

func (s *sim) takeSnapshot(snap cluster.Snapshot) {
	snap.At = s.now
	s.store.snapshot = &snap
}
