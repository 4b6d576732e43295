package observe

import (
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// growth is how large the data of the member on a host has been at most, and when it was
// last seen to become larger: a learner that is sent a snapshot serves nobody before it
// has all of it, and this is what there is to be seen of it meanwhile.
type growth struct {
	member cluster.MemberID
	most   int64
	at     time.Time
}

// note takes in what the host said at that time.
func (g *growth) note(f host.Facts, at time.Time) {
	if f.Unit == nil {
		*g = growth{}
		return
	}
	id := f.Unit.Unit.Member
	first := id != g.member
	if first {
		*g = growth{member: id}
	}
	d, _ := cluster.NodeState{Data: f.Data}.Dir(id)
	if d.Bytes <= g.most {
		return
	}
	if g.most = d.Bytes; !first {
		g.at = at
	}
}
