package e2e

import (
	"context"
	"math/rand/v2"
	"testing"

	"cke/internal/api"
	"cke/test/drive"
)

// walkDrains drains and undrains a node, the leader's to begin with, with the
// daemon killed after each effect in turn: the next one finishes the job, nobody
// else's member is touched, and what was written is read all the while.
func walkDrains(t *testing.T, r *reached, rnd *rand.Rand) {
	m := &mortal{env: newEnv(t)}
	m.watch, m.dead = func() {}, func() {}
	m.Start()
	m.set(1, 2, 3)
	m.CLI("etcd", "user-add", "app", "/app/")
	cert := m.UserCert("app")
	put(t, m.env, cert, "/app/x", "1")
	node := m.memberThatLeads()
	before := m.members()
	drain, undrain := newWalk(r), newWalk(r)
	ask := func(call func(context.Context, *api.Client) error) func() bool {
		return func() (asked bool) {
			ctx, cancel := context.WithTimeout(t.Context(), drive.Patience)
			defer cancel()
			// One that lives may have come upon the members between two leaders.
			m.Eventually("the daemon takes it or ends", func() error {
				err := call(ctx, m.Client())
				asked = err == nil
				select {
				case <-m.Ended():
					return nil
				default:
					return err
				}
			})
			return asked
		}
	}
	round := func(a, b []int) {
		m.Kill()
		m.walk, m.act = drain, ask(func(ctx context.Context, c *api.Client) error {
			_, err := c.DrainNode(ctx, "main", node, api.DrainRequest{Why: "a walk"})
			return err
		})
		m.crash(a)
		if pid, runs := m.members()[node]; runs {
			t.Fatalf("%s is drained, and its member runs (%d)", node, pid)
		}
		if got := get(t, m.env, cert, "/app/x"); got != "1" {
			t.Errorf("/app/x = %q", got)
		}
		m.Kill()
		m.walk, m.act = undrain, ask(func(ctx context.Context, c *api.Client) error {
			_, err := c.UndrainNode(ctx, "main", node)
			return err
		})
		m.crash(b)
		m.onlyMembersAre(1, 2, 3)
		if s := m.Settled(); len(s.Drains) > 0 {
			t.Errorf("drains are left: %+v", s.Drains)
		}
		for n, pid := range m.members() {
			if n != node && before[n] != pid {
				t.Errorf("the member on %s was touched", n)
			}
		}
		if t.Failed() {
			t.Fatalf("with kills %v and %v", a, b)
		}
	}
	for {
		node = m.memberThatLeads()
		before = m.members()
		a, b := drain.next(), undrain.next()
		if a+b == 0 {
			break
		}
		round(kill(a), kill(b))
	}
	round(drain.double(rnd), undrain.double(rnd))
}
