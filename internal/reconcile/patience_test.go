package reconcile

import (
	"errors"
	"testing"
	"time"

	"cke/internal/plan"
)

// A wait that nobody can foretell ends late by a small part of it; others are looked
// after less and less, and whatever happens meanwhile begins anew.
func TestPatience(t *testing.T) {
	t.Parallel()
	waiting := turn{plan: plan.Plan{Reasons: []plan.Reason{{Level: plan.Waiting, Rule: "membersAreStarting"}}}}
	learner := turn{plan: plan.Plan{Reasons: []plan.Reason{{Level: plan.Waiting, Rule: "learnerIsCatchingUp"}}}}
	for name, c := range map[string]struct {
		turn  turn
		err   error
		after time.Duration // the longest wait within this time
		want  time.Duration
	}{
		"others":          {turn: waiting, after: 10 * time.Second, want: waitMax},
		"a learner":       {turn: learner, after: 4 * time.Second, want: 250 * time.Millisecond},
		"one for long":    {turn: learner, after: time.Minute, want: waitMax},
		"nothing":         {after: time.Minute, want: waitMin},
		"something fails": {turn: learner, err: errors.New("x"), after: time.Minute, want: waitMin},
		"something done":  {turn: turn{acted: true, plan: learner.plan}, after: time.Minute, want: waitMin},
	} {
		var p patience
		now := time.Unix(0, 0)
		end, longest := now.Add(c.after), time.Duration(0)
		for now.Before(end) {
			wait := p.after(c.turn, c.err, now)
			longest = max(longest, wait)
			now = now.Add(wait)
		}
		if longest > c.want || longest < c.want*3/4 {
			t.Errorf("%s: the longest wait is %s, not %s", name, longest, c.want)
		}
		if got := p.after(turn{acted: true}, nil, now); got != waitMin {
			t.Errorf("%s: after something was done it waits %s", name, got)
		}
	}
}
