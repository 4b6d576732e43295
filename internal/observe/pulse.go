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
	// ends is how many processes had ended when it was looked at last, old how many of
	// them were there when it was looked at first, before how many when it had last
	// served for long.
	ends, old, before int
}

// servesForLong is how long a process must have run whose member serves, for what ended
// before it to be another matter.
const servesForLong = 10 * time.Minute

// serves is told of a member that serves at that time.
func (p *pulse) serves(at time.Time) {
	if !p.runs.IsZero() && at.Sub(p.runs) >= servesForLong {
		p.before = p.ends
	}
}

// anew: one has ended that was not there when it was looked at first.
func (p *pulse) anew() bool { return p.ends > p.old }

// note takes in what the host said of the member's unit at that time.
func (p *pulse) note(u *cluster.UnitState, at time.Time) {
	switch {
	case u == nil:
		*p = pulse{}
		return
	case u.Unit.Member != p.member:
		*p = pulse{member: u.Unit.Member}
		p.first(*u)
	case u.Ends() < p.ends: // they are counted from the beginning
		p.first(*u)
	case u.Running && u.Ends() > p.ends: // one was seen by nobody
		p.runs = at
	}
	p.ends = u.Ends()
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

func (p *pulse) first(u cluster.UnitState) {
	p.before = 0
	if p.old = u.Ends(); u.Running {
		p.old++
	}
}
