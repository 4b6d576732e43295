package sim

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

// What no cke may do to its own records: they are what the next one goes by.

// retryAfter is how soon settings that failed may be tried again: when the member has
// not served with its old ones either.
const retryAfter = 50 * time.Second

// judgeRetry: settings with which a member was rolled back are not given to any
// other, nor to it again, unless a person says so or it came to serve with them.
func (w *World) judgeRetry(r cluster.Restart) {
	if r.Failed != "" {
		w.failed = r
		return
	}
	f := w.failed
	if f.Failed == "" || !f.To.SameSettings(r.To) || !w.shelf.edited.Before(f.At) || r.At.Sub(f.At) > retryAfter {
		return
	}
	if m := w.machines[f.Node]; m != nil && m.running(f.Member) && m.connected(w.raft.at) && m.proc.unit.SameSettings(f.To) {
		return
	}
	w.violate("failedSettingsAreNotTriedAgain", "%s is restarted with what %s was rolled back from %s before", r.Node, f.Node, r.At.Sub(f.At))
}

// judgeForgetUser: a user that was removed is remembered until etcd knows him no more.
func (w *World) judgeForgetUser(u cluster.RemovedUser) {
	if slices.ContainsFunc(w.shelf.users, func(o cluster.User) bool { return o.Name == u.Name }) {
		return
	}
	if _, there := w.raft.auth.Users[u.Name]; there {
		w.violate("removedUsersGo", "user %s is forgotten, and etcd still knows him", u.Name)
	}
}

// judgeDropRestart: a member that was stopped for a restart is followed until it
// serves, as long as there is a way back.
func (w *World) judgeDropRestart(r cluster.Restart) {
	p, member := w.raft.agreed.find(r.Member)
	m := w.byPeerURL(p.url)
	if r.Failed != "" || !member || m == nil || r.From.Version != r.To.Version || !w.knows(m.name()) {
		return
	}
	blameless := r.Down || r.From.SameSettings(r.To)
	runs := m.running(r.Member)
	switch {
	case blameless && time.Since(r.At) >= time.Minute:
	case !blameless && m.unit != nil && m.unit.SameSettings(r.From) && !runs: // not begun, and stopped for something else
	case runs && m.unit != nil && !m.proc.unit.SameSettings(*m.unit):
		w.violate("restartsAreFollowed", "the restart of %s is forgotten, which runs with its old settings still", m.name())
	case w.stoppedByCKE[r.Member] && !(runs && m.connected(w.raft.at)):
		w.violate("restartsAreFollowed", "the restart of %s is forgotten, which has not served since it was stopped", m.name())
	}
}

// judgeDropDrain: a member that was drained is followed until it serves.
func (w *World) judgeDropDrain(d cluster.Drain) {
	m := w.machines[d.Node]
	if m == nil || !w.knows(d.Node) {
		return
	}
	i := slices.IndexFunc(w.raft.agreed, func(p peer) bool { return p.url == m.peerURL })
	if i < 0 {
		return
	}
	id := w.raft.agreed[i].id
	if !d.Over() || w.stoppedByCKE[id] && !m.connected(w.raft.at) && !w.deadForLong(w.newest(), m, id) {
		w.violate("drainsAreFollowed", "the drain of %s is forgotten, whose member has not served since", d.Node)
	}
}

// knows: the node is wanted or leaving.
func (w *World) knows(n cluster.NodeName) bool {
	return slices.ContainsFunc(append(slices.Clone(w.shelf.spec.Nodes), w.shelf.leaving...), func(o cluster.Node) bool { return o.Hostname == n })
}
