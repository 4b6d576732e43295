package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// StillUnwanted says whether a member that a step takes out because nobody wants it is
// unwanted by the spec of this very moment, too. Whatever the step has waited for, a
// slow host or etcd, it asks right before the removal: until then nothing has been done
// that cannot be undone, and one that was stopped is started again. Steps that take a
// member out for another reason are not concerned.
func StillUnwanted(s Step, spec cluster.Spec, e cluster.EtcdState, now time.Time) error {
	if !s.ForUnwanted() {
		return nil
	}
	in := newInput(spec, cluster.State{At: now, Etcd: e}, now)
	m, member := e.Member(s.Member)
	n, known := in.nodeOf(m)
	if member && known && in.isWanted(n) {
		return fmt.Errorf("guard %s: member %s on %s is wanted again", s.Kind, m.ID, n.Hostname)
	}
	return nil
}

// ForUnwanted: the step takes out a voter that serves, for the spec alone.
func (s Step) ForUnwanted() bool {
	return s.Kind == RemoveMember && s.Serving && !s.DataLost && !s.Corrupt
}
