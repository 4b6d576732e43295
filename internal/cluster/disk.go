package cluster

import "strings"

// Disk is the file system that a node's members keep their data on.
type Disk struct {
	Mount string `json:"mount"` // its topmost directory
	Size  int64  `json:"size"`
	Free  int64  `json:"free"` // for those who are not root
}

const (
	// noRoom is what no process starts with.
	noRoom = 4 << 20
	// roomToStart is what a member that ended for lack of room needs to go on: its
	// next piece of log takes 64 MiB at once (etcd wal.SegmentSizeBytes).
	roomToStart = 80 << 20
)

// Full says whether a stopped member cannot go on for lack of room for its data.
func (n NodeState) Full() bool {
	u, d := n.Unit, n.Disk
	if u == nil || u.Running || d.Mount == "" {
		return false
	}
	return d.Free < noRoom || d.Free < roomToStart && u.endedForLackOfRoom()
}

// NeedsFree is what must be free for the member to be started again.
func (n NodeState) NeedsFree() int64 {
	if n.Unit != nil && n.Unit.endedForLackOfRoom() {
		return roomToStart
	}
	return noRoom
}

func (u UnitState) endedForLackOfRoom() bool {
	for _, said := range []string{"no space left on device", "disk quota exceeded"} { // ENOSPC, EDQUOT
		if strings.Contains(u.Exit, said) || strings.Contains(u.Log, said) {
			return true
		}
	}
	return false
}
