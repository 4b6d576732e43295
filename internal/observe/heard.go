package observe

import (
	"maps"

	"cke/internal/cluster"
)

// hear keeps the last that hosts and members said of their data, for the day on
// which they say nothing any more.
func (o *Observer) hear(w Wanted, st cluster.State) map[cluster.NodeName]cluster.Heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := st.At
	next := make(map[cluster.NodeName]cluster.Heard, len(st.Nodes))
	for _, n := range w.Nodes() {
		h, known := o.heard[n.Hostname]
		ns := st.Nodes[n.Hostname]
		if ns.Reachable() {
			if h, known = heardOf(ns, h), ns.Unit != nil; known {
				h.At = now
			}
		}
		if m, ok := st.Etcd.MemberAt(n); ok && known && m.ID == h.Member && m.RaftTerm > 0 {
			h.RaftIndex, h.RaftTerm, h.AskedAt = m.RaftIndex, m.RaftTerm, now
		}
		if known {
			next[n.Hostname] = h
		}
	}
	o.heard = next
	return maps.Clone(next)
}

// heardOf is what a host says now. What was heard of another member says nothing
// about this one.
func heardOf(ns cluster.NodeState, before cluster.Heard) cluster.Heard {
	if ns.Unit == nil {
		return cluster.Heard{}
	}
	if before.Member != ns.Unit.Unit.Member {
		before = cluster.Heard{Member: ns.Unit.Unit.Member}
	}
	d, _ := ns.Dir(before.Member)
	before.Bytes, before.Lost = d.Bytes, ns.Unit.DataLost
	return before
}
