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
}

func newFailures() *failures { return &failures{steps: map[string]failure{}} }

type failure struct {
	times     int
	transient bool
	err       string
	next      time.Time
	rec       record.Record
}

const (
	retryMin = 250 * time.Millisecond
	retryMax = 30 * time.Second
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
	wait := retryMax
	if shift := v.times - 1; shift < 7 {
		wait = min(retryMax, retryMin<<shift)
	}
	if v.transient {
		wait = min(wait, time.Second)
	}
	v.next = now.Add(wait)
	f.steps[s.Key()] = v
}

func (f *failures) succeed(s plan.Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.steps, s.Key())
}

// record is the step's last record, if its last attempt failed.
func (f *failures) record(s plan.Step) (record.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.steps[s.Key()]
	return v.rec, ok
}

// next is how long until the first held-back step may be tried again.
func (f *failures) next(now time.Time) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first time.Time
	for _, v := range f.steps {
		if first.IsZero() || v.next.Before(first) {
			first = v.next
		}
	}
	if first.IsZero() {
		return 0, false
	}
	return max(0, first.Sub(now)), true
}

// forgetAllBut drops the memory of steps nobody wants any more.
func (f *failures) forgetAllBut(p plan.Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[string]bool{}
	for _, s := range p.Steps {
		wanted[s.Key()] = true
	}
	for k := range f.steps {
		if !wanted[k] {
			delete(f.steps, k)
		}
	}
}

// holdBack splits a plan into the steps that may be tried now and the plan as
// it is shown, with each failing step's last error.
func (f *failures) holdBack(p plan.Plan, now time.Time) ([]plan.Step, plan.Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var runnable []plan.Step
	shown := p
	shown.Reasons = append([]plan.Reason(nil), p.Reasons...)
	for _, s := range p.Steps {
		v, failed := f.steps[s.Key()]
		if !failed {
			runnable = append(runnable, s)
			continue
		}
		if !now.Before(v.next) {
			runnable = append(runnable, s)
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
		shown.Reasons = append(shown.Reasons, r)
	}
	return runnable, shown
}
