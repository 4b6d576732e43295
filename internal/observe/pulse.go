package observe

import (
	"time"

	"cke/internal/cluster"
)

// pulse is what was seen of the process of one member, as far as anybody looked: since
// when it runs, and when it was last seen to have ended; zero times while it does not
// run, and where it was not seen to end.
type pulse struct {
	member      cluster.MemberID
	runs, ended time.Time
}

// note takes in what the host said of the member's unit at that time.
func (p *pulse) note(u *cluster.UnitState, at time.Time) {
	switch {
	case u == nil:
		*p = pulse{}
		return
	case u.Unit.Member != p.member:
		*p = pulse{member: u.Unit.Member}
	}
	if u.Running {
		if p.runs.IsZero() {
			p.runs = at
		}
		return
	}
	if p.runs = (time.Time{}); u.Ended() {
		p.ended = at
	}
}
