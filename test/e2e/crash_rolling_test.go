package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"cke/internal/cluster"
)

// walkRolling changes the settings of three members again and again, to good
// ones and to such that they end at.
func walkRolling(t *testing.T, r *reached, rnd *rand.Rand) {
	l := (&living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r})
	l.Start()
	l.grown(1, 2, 3)
	roll := l.roll()
	for n := roll.walk.next(); n > 0; n = roll.walk.next() {
		l.round(roll, kill(n))
	}
	l.rollBack()
	l.endsBeforeItsRestart()
	for range 2 {
		l.round(roll, roll.walk.double(rnd))
	}
}

// roll gives every member another flag.
func (l *living) roll() *change {
	want := 2000000
	return &change{
		name: "roll", nodes: []int{1, 2, 3}, edit: true, walk: newWalk(l.reached),
		prepare: func() {
			want++
			// Who is made leader is to stay it, on a busy machine too.
			l.settings = fmt.Sprintf(`extra_args: {election-timeout: "2500", max-request-bytes: "%d"}`, want)
		},
		dead: l.authStaysOn,
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "")
			l.runsWith(fmt.Sprintf("--max-request-bytes=%d", want), 1, 2, 3)
		},
	}
}

// rollBack gives the members a flag that the first of them ends at, and then good
// ones again. Killed are the daemons that roll it back: up to there it is as in
// any other change.
func (l *living) rollBack() {
	l.t.Helper()
	c := l.roll()
	c.name = "roll back"
	good := c.prepare
	c.act = func() bool {
		l.settings = `extra_args: {election-timeout: "60000"}`
		if _, lived := l.edit(1, 2, 3); !lived || !l.rolledBack() {
			return false
		}
		good()
		_, lived := l.edit(1, 2, 3)
		return lived
	}
	l.killAfter(c, "roll-back-member store.put-restart", "roll-back-member host.install-unit",
		"roll-back-member host.stop-unit", "roll-back-member host.start-unit")
}

// endsBeforeItsRestart has the daemon killed when the first member has the unit with a
// flag that it ends at, and the member end before the next one stops it. It is rolled
// back all the same: what it worked with was on record before.
func (l *living) endsBeforeItsRestart() {
	l.t.Helper()
	c := l.roll()
	c.name = "ends before its restart"
	good := c.prepare
	c.prepare = func() { l.lead(3) }
	c.dead = func() {
		first := "cp1" // of the followers, in the order of the membership
		if l.ids["cp2"] < l.ids[first] {
			first = "cp2"
		}
		l.killMember(first)
		l.authStaysOn()
	}
	c.act = func() bool {
		l.settings = `extra_args: {election-timeout: "60000"}`
		if _, lived := l.edit(1, 2, 3); !lived || !l.rolledBack() {
			return false
		}
		good()
		_, lived := l.edit(1, 2, 3)
		return lived
	}
	l.killAfter(c, "restart-member host.install-unit")
}

// killAfter goes through a change once for each of these effects, and has the daemon
// killed right after the first of it.
func (l *living) killAfter(c *change, effects ...string) {
	l.t.Helper()
	for _, effect := range effects {
		l.at = effect
		l.round(c, kill(1))
		l.at = ""
		if !c.walk.killed[effect] {
			l.t.Errorf("no daemon was killed after %s", effect)
		}
	}
}

// rolledBack waits until a member was rolled back; false when the daemon died.
func (l *living) rolledBack() bool {
	l.t.Helper()
	return l.says("", "settingsFailed")
}

// says waits until the plan says this reason, with no step left, or a step of this
// kind is under way; false when the daemon died.
func (l *living) says(step, rule string) bool {
	l.t.Helper()
	lived := true
	l.Eventually("the plan says "+rule, func() error {
		select {
		case <-l.Ended():
			lived = false
			return nil
		default:
		}
		s, err := l.Client().Status(l.t.Context(), "main")
		if err != nil {
			return err
		}
		for _, r := range s.Plan.Reasons {
			if r.Rule == rule && len(s.Plan.Steps)+len(s.Running) == 0 {
				return nil
			}
		}
		for _, r := range s.Running {
			if string(r.Kind) == step {
				return nil
			}
		}
		return errors.New("it was not")
	})
	return lived
}
