package plan

import (
	"fmt"

	"cke/internal/cluster"
	"cke/internal/units"
)

// ruleFull tells of stopped members whose data has no room. They are not started
// over and over, but as soon as there is; one that stays so is a dead member like
// any other.
func ruleFull(in input) verdict {
	var v verdict
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		if !usable(ns) || !ns.Full() {
			continue
		}
		v.reasons = append(v.reasons, fileSystemIsFull(n, ns))
	}
	return v
}

func fileSystemIsFull(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{
		Level: Blocked, Rule: "fileSystemIsFull", Node: n.Hostname,
		Text: fmt.Sprintf("the member's data is on %s, of which %s of %s are free: it starts by itself once there are %s",
			ns.Disk.Mount, roundSize(ns.Disk.Free), roundSize(ns.Disk.Size), units.Size(ns.NeedsFree())),
		Hint: fmt.Sprintf("make room on %s, or make it larger; never delete anything in the member's own directory", ns.Disk.Mount),
	}
}

// spareRoom is what stays free for a member's log while its database is copied.
const spareRoom = 128 << 20

// lacksRoom says why a member cannot be defragmented now: the new database lies
// beside the old one until it is whole.
func (in input) lacksRoom(m cluster.Member) (Reason, bool) {
	n, _ := in.nodeOf(m)
	d := in.node(n.Hostname).Disk
	need := m.DBSize - Free(in.st.Etcd, m) + spareRoom
	if d.Mount == "" || d.Free >= need {
		return Reason{}, false
	}
	level := Note
	if in.st.Etcd.Alarmed(cluster.AlarmNoSpace) || in.askedFor(n.Hostname) {
		level = Blocked
	}
	return Reason{
		Level: level, Rule: "defragmentationLacksRoom", Node: n.Hostname,
		Text: fmt.Sprintf("to be defragmented, the member needs %s free on %s, and %s are", roundSize(need), d.Mount, roundSize(d.Free)),
		Hint: "make room on " + d.Mount,
	}, true
}
