package sim

import (
	"context"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/record"
)

// deeds is what one daemon has begun, as its records tell, and what it was told
// before: a step is judged by what whoever began it could know.
type deeds struct {
	steps map[string]*deed // by the step's key
	// looked is when the loop's last look began.
	looked time.Time
	heard  map[cluster.NodeName][]heard
	// saw is what a step's own look at the members told it last, by the instant at
	// which the step is to be over: the loop's own looks have no such end.
	saw map[time.Time]sight
	// met is when a look of this daemon last found a member to serve.
	met map[cluster.MemberID]time.Time
	// idle is since when a step is asked for and was not begun.
	idle map[string]time.Time
}

// deed is a step that was begun, with all its attempts.
type deed struct {
	step plan.Step
	// look is when the look began that it rests on; knew is the last instant of which
	// the present attempt must know all.
	look, knew time.Time
	// since is when the present attempt began, at the earliest.
	since, ended time.Time
	open         bool
	failed       int         // attempts in a row
	failures     []time.Time // when those of the last minute ended
	err          string
	unfolded     int // records in a row that say the same failure
}

// sight is what the members said to a step, and when.
type sight struct {
	at    time.Time
	state cluster.EtcdState
}

// heard is an answer of a host's.
type heard struct {
	at, came time.Time // when it was so, and when it was told
	facts    host.Facts
}

// heardMost is how many answers of one host are remembered.
const heardMost = 32

func newDeeds() deeds {
	return deeds{steps: map[string]*deed{}, heard: map[cluster.NodeName][]heard{}, saw: map[time.Time]sight{}, met: map[cluster.MemberID]time.Time{}}
}

// hears notes what a host has answered.
func (c *CKE) hears(m *machine, at time.Time, f host.Facts) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	all := c.deeds.heard[m.name()]
	all = append(all, heard{at, time.Now(), f})
	c.deeds.heard[m.name()] = all[max(0, len(all)-heardMost):]
}

// toldBefore is what a host had said by then.
func (d *deeds) toldBefore(m *machine, then time.Time) (host.Facts, bool) {
	all := d.heard[m.name()]
	for i := range slices.Backward(all) {
		if !all[i].came.After(then) {
			return all[i].facts, true
		}
	}
	return host.Facts{}, false
}

// toldBetween: a host has answered with what was so after the first and was told
// before the second instant.
func (d *deeds) toldBetween(m *machine, since, until time.Time) bool {
	return slices.ContainsFunc(d.heard[m.name()], func(h heard) bool { return !h.at.Before(since) && !h.came.After(until) })
}

// sees notes what a look at the members told, all of it if it is a step's own.
func (c *CKE) sees(ctx context.Context, at time.Time, s cluster.EtcdState) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for _, m := range s.Members {
		if m.Healthy {
			c.deeds.met[m.ID] = at
		}
	}
	if end, ok := ctx.Deadline(); ok {
		c.deeds.saw[end] = sight{at, s}
	}
}

// sawAt is when the members told a step what it goes by: in its own look, if it has
// one, and else in the loop's.
func (c *CKE) sawAt(ctx context.Context) time.Time {
	if end, ok := ctx.Deadline(); ok {
		if s, ok := c.deeds.saw[end]; ok {
			return s.at
		}
	}
	return c.deeds.looked
}

// unawares: what began then did so after that, but for hardly more than a moment and
// for the time the daemon stood still since: the look right before the deed is the
// last that anybody can have.
func (c *CKE) unawares(ctx context.Context, then time.Time) bool {
	old := c.sent.Sub(then)
	from := c.still.from
	for _, t := range []time.Time{then, c.sawAt(ctx)} {
		if t.After(from) {
			from = t
		}
	}
	return old-max(0, c.still.to.Sub(from)) <= fellJustNow
}

// looks notes that the loop begins to look.
func (c *CKE) looks() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.judgeIdle(c)
	c.deeds.looked = time.Now()
}

// writes follows a step by its records. The caller holds the lock.
func (w *World) writes(c *CKE, r record.Record) {
	if r.Step == nil {
		return
	}
	now := time.Now()
	d := c.deeds.steps[r.What()]
	if d == nil {
		d = &deed{}
		c.deeds.steps[r.What()] = d
	}
	if r.Outcome == record.Started {
		w.judgeBegin(c, *r.Step)
		w.judgeSeen(c, *r.Step)
		d.step, d.look, d.knew, d.since, d.open, d.failed = *r.Step, c.deeds.looked, c.deeds.looked, now, true, 0
		return
	}
	d.step, d.open, d.ended, d.since, d.knew = *r.Step, false, now, now, now
	if r.Outcome != record.Failed {
		d.failed, d.failures, d.unfolded = 0, nil, 0
		return
	}
	d.failed++
	w.judgeFailure(d, r)
}
