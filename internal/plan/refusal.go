package plan

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

// refusalPatience is how long those who serve must have held the same data before a
// voter is blamed for refusing to start beside them: it is started anew meanwhile.
const refusalPatience = 45 * time.Second

// withRefusing adds the voters that refuse to start. etcd does so whenever any peer
// holds other data than its own, so that beside one that is known to be bad it says
// nothing of theirs.
func (c Corruption) withRefusing(ids []cluster.MemberID) Corruption {
	if len(c.Bad) > 0 {
		c.Silent = append(c.Silent, ids...)
	} else {
		c.Bad = ids
	}
	return c
}

// refusing are the voters that refuse to start, and have had the time to try beside
// none whose data is bad. What one has said before this cke led it may have said beside
// one that was taken out since, so it must say it again.
func (in input) refusing() []cluster.MemberID {
	if at := in.st.Etcd.DifferedAt; !at.IsZero() && in.now.Sub(at) < refusalPatience {
		return nil
	}
	return slices.DeleteFunc(in.st.Refusing(), func(id cluster.MemberID) bool {
		m, _ := in.st.Etcd.Member(id)
		return !in.node(in.name(m)).EndedAnew
	})
}

// triedAgain waits for those.
func (in input) triedAgain() verdict {
	var v verdict
	for _, id := range in.st.Refusing() {
		m, _ := in.st.Etcd.Member(id)
		v.hold = true
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "refuserIsTriedAgain", Node: in.name(m),
			Text: fmt.Sprintf("member %s refused to start beside one whose data was bad, or may have been, and is started again before its own is blamed", id),
		})
	}
	return v
}
