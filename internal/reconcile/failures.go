package reconcile

import (
	"fmt"
	"sync"
	"time"

	"cke/internal/etcd"
	"cke/internal/plan"
	"cke/internal/record"
)

// failures remembers which steps failed, to space out the next attempts and to
// show them. It is only about pace: forgetting it is harmless.
type failures struct {
	mu    sync.Mutex
	steps map[string]failure
	// starts are the members started a short while ago.
	starts map[string]start
}

// start is a start-members step that was done. One that is needed again soon
// after is a failure that came late: the member ended by itself.
type start struct {
	at    time.Time
	times int // in a row
	rec   record.Record
}

// startMustHold is how long a member must have run not to count as ending at
// its start.
const startMustHold = time.Minute

func newFailures() *failures {
	return &failures{steps: map[string]failure{}, starts: map[string]start{}}
}

type failure struct {
	times     int
	transient bool
	err       string
	next      time.Time
	rec       record.Record
	// vain: it was done again and again, and the plan went on asking for it. Done
	// once more it is as good as failed.
	vain bool
	// refused is what hosts have against it; empty when none has.
	refused []plan.Reason
	// left is since when no plan asks for it; zero while one does.
	left time.Time
}

const (
	retryMin = 250 * time.Millisecond
	retryMax = 30 * time.Second
	// foldsFor is how long the record of a step that no plan asks for any more is
	// gone on with, should one do so again.
	foldsFor = time.Minute
	// showBlocked is how many failures in a row need a person's eye.
	showBlocked = 3
)

// fail notes a failed attempt. What etcd itself asks to wait for is tried again
// soon; everything else backs off exponentially.
func (f *failures) fail(s plan.Step, err error, rec record.Record, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.steps[s.Key()]
	v.times++
	v.transient, v.err, v.rec = etcd.IsTransient(err), err.Error(), rec
	v.refused = refusals(s, err)
	wait := backoff(v.times)
	if v.transient {
		wait = min(wait, time.Second)
	}
	v.next = now.Add(wait)
	f.steps[s.Key()] = v
}

// failInVain notes a step that was done too often.
func (f *failures) failInVain(s plan.Step, err error, rec record.Record, now time.Time) {
	f.fail(s, err, rec, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.steps[s.Key()]
	v.vain = true
	f.steps[s.Key()] = v
}

func (f *failures) succeed(s plan.Step, rec record.Record, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.steps[s.Key()]; v.vain {
		v.times++
		v.rec, v.next = rec, now.Add(backoff(v.times))
		f.steps[s.Key()] = v
		return
	}
	switch s.Kind {
	case plan.StartMembers:
		f.starts[s.Key()] = start{at: now, times: f.steps[s.Key()].times, rec: rec}
	case plan.StopMember: // who was stopped did not end by itself
		delete(f.starts, plan.Step{Kind: plan.StartMembers, Nodes: s.Nodes}.Key())
	}
	delete(f.steps, s.Key())
}

// noticeEnded turns starts that did not hold into failures, so that they are
// spaced out, shown, and folded into one record.
func (f *failures) noticeEnded(p plan.Plan, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range p.Steps {
		st, started := f.starts[s.Key()]
		if f.steps[s.Key()].times > 0 || !started {
			continue
		}
		f.steps[s.Key()] = failure{
			times: st.times + 1, err: "it does not stay up: " + s.Reason, rec: st.rec,
			next: st.at.Add(backoff(st.times + 1)),
		}
	}
	for k, st := range f.starts {
		if now.Sub(st.at) > startMustHold {
			delete(f.starts, k)
		}
	}
}

func backoff(times int) time.Duration {
	if shift := times - 1; shift < 7 {
		return min(retryMax, retryMin<<shift)
	}
	return retryMax
}

// record is the step's last record, if its last attempt failed.
func (f *failures) record(s plan.Step) (record.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.steps[s.Key()]
	return v.rec, ok
}

// next is how long until the first held-back step may be tried again, as seen
// when the last plan was held back: one that was due then has been begun, or
// waits for another to end.
func (f *failures) next(then time.Time) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first time.Time
	for _, v := range f.steps {
		if v.next.After(then) && (first.IsZero() || v.next.Before(first)) {
			first = v.next
		}
	}
	return first.Sub(then), !first.IsZero()
}

// forgetAllBut drops the memory of steps nobody wants any more. What comes and goes
// is tried at once when it comes, and told by one record.
func (f *failures) forgetAllBut(wanted map[string]bool, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, v := range f.steps {
		switch {
		case wanted[k]:
			v.left = time.Time{}
		case v.left.IsZero():
			v = failure{rec: v.rec, left: now}
		case now.Sub(v.left) > foldsFor:
			delete(f.steps, k)
			continue
		}
		f.steps[k] = v
	}
}

// holdBack splits a plan into the steps that may be tried now and the plan as
// it is shown, with each failing step's last error.
func (f *failures) holdBack(p plan.Plan, now time.Time) ([]plan.Step, plan.Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var runnable []plan.Step
	shown := p
	shown.Steps = nil
	shown.Reasons = append([]plan.Reason(nil), p.Reasons...)
	for _, s := range p.Steps {
		v := f.steps[s.Key()]
		failed := v.times > 0
		due := !failed || !now.Before(v.next)
		if due {
			runnable = append(runnable, s)
		}
		if due || len(v.refused) == 0 { // what a host refuses is blocked, not to be done
			shown.Steps = append(shown.Steps, s)
		}
		if !failed {
			continue
		}
		if len(v.refused) > 0 {
			shown.Reasons = append(shown.Reasons, v.refused...)
			continue
		}
		r := plan.Reason{Level: plan.Waiting, Rule: "stepFailed", Text: fmt.Sprintf("%s failed: %s", s.Kind, v.err)}
		if v.times >= showBlocked && !v.transient {
			r.Level, r.Rule = plan.Blocked, "stepKeepsFailing"
			r.Text = fmt.Sprintf("%s failed %d times: %s", s.Kind, v.times, v.err)
			r.Hint = "it is tried again at growing intervals; ckecli history tells more"
		}
		if len(s.Nodes) > 0 {
			r.Node = s.Nodes[0]
		}
		if s.Kind == plan.StartMembers && r.Hint != "" {
			r.Hint = fmt.Sprintf("it is started again at growing intervals; ckecli node logs %s has what it wrote", r.Node)
		}
		shown.Reasons = append(shown.Reasons, r)
	}
	return runnable, shown
}
