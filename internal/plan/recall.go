package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// StillUnwanted says whether a member that a step takes out because nobody wants it is
// unwanted by the spec of this very moment, too. Whatever the step has waited for, a
// slow host or etcd, it asks right before the removal: until then nothing has been done
// that cannot be undone, and one that was stopped is started again. One that does not
// serve stays if only the edit since the step began wants it: else it is taken out as
// dead. Steps that take a member out for another reason are not concerned.
func StillUnwanted(s Step, began, spec cluster.Spec, e cluster.EtcdState, now time.Time) error {
	if !s.ForUnwanted() {
		return nil
	}
	n, wanted := wants(spec, e, s.Member, now)
	if _, before := wants(began, e, s.Member, now); wanted && (s.Serving || !before) {
		return fmt.Errorf("guard %s: member %s on %s is wanted again", s.Kind, s.Member, n.Hostname)
	}
	return nil
}

// StillCarries says whether the node that a learner is about to be added for may carry
// one by the spec of this very moment, too.
func StillCarries(n cluster.Node, spec cluster.Spec) error {
	for _, o := range spec.Nodes {
		if o.Hostname == n.Hostname && o.PeerURL() == n.PeerURL() && o.ControlPlane {
			return nil
		}
	}
	return fmt.Errorf("guard %s: %s is to carry no member any more", AddLearner, n.Hostname)
}

func wants(spec cluster.Spec, e cluster.EtcdState, id cluster.MemberID, now time.Time) (cluster.Node, bool) {
	in := newInput(spec, cluster.State{At: now, Etcd: e}, now)
	m, member := e.Member(id)
	n, known := in.nodeOf(m)
	return n, member && known && in.isWanted(n)
}

// ForUnwanted: the step may take out a voter for the spec alone.
func (s Step) ForUnwanted() bool {
	return s.Kind == RemoveMember && (s.Serving || s.NotServing) && !s.DataLost && !s.Corrupt
}
