package plan

import (
	"slices"

	"cke/internal/cluster"
)

// successor is the healthy voter leadership goes to from a member: of those that have
// their data the one that is left alone for longest, so that it moves only once. Those
// in todo have what is about to be done to the member still before them.
func successor(in input, from cluster.Member, todo ...cluster.Member) (cluster.Member, bool) {
	return in.fittest(from, todo, func(cluster.Member) bool { return true })
}

// fittest is the fittest to lead of those that may, the first in the membership's order
// where several are.
func (in input) fittest(from cluster.Member, todo []cluster.Member, may func(cluster.Member) bool) (cluster.Member, bool) {
	var best cluster.Member
	least := 0
	outdated := in.outdatedVoters()
	for _, m := range in.st.Etcd.HealthyVoters() {
		if m.ID == from.ID || in.dataLost(m) || !may(m) {
			continue
		}
		if n := in.unrest(m, todo, outdated); best.ID == 0 || n < least {
			best, least = m, n
		}
	}
	return best, best.ID != 0
}

// unrest is what speaks against leadership going to a member, the worst weighing more
// than all the rest.
func (in input) unrest(m cluster.Member, todo []cluster.Member, outdated []outdated) int {
	n, known := in.nodeOf(m)
	sum := 0
	for i, against := range []bool{
		slices.ContainsFunc(todo, func(o cluster.Member) bool { return o.ID == m.ID }),
		len(only(outdated, n.Hostname)) > 0,
		in.toBeRebooted(n.Hostname),
		!InSync(in.st.Etcd, m),
		!known || !in.isWanted(n),
		in.drained(n.Hostname),
		in.isCorrupt(m.ID),
	} {
		if against {
			sum += 1 << i
		}
	}
	return sum
}

// toBeRebooted: the node's machine has its reboot before it.
func (in input) toBeRebooted(n cluster.NodeName) bool {
	r := in.st.Reboot
	return r != nil && slices.Contains(r.Nodes, n) && !slices.Contains(r.Done, n)
}
