package execute

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// A leader that is stuck in a write to a member that went silent applies nothing else
// while that member is removed. What becomes of the others meanwhile counts.
func TestARemovalWaitsForTheLeadersLine(t *testing.T) {
	for name, c := range map[string]struct {
		stuck time.Duration
		while func(*three)
		err   error // of the host
		waits time.Duration
		fails string
	}{
		"it moves":               {waits: 0},
		"it moves after a while": {stuck: 4 * time.Second, waits: 4 * time.Second},
		"it never moves":         {stuck: time.Hour, waits: lineStuck},
		"nobody can say":         {stuck: time.Hour, err: errors.New("what is that?"), waits: 0},
		"another falls meanwhile": {
			stuck: 4 * time.Second, while: func(c *three) { c.e.Members[2].Healthy = false }, waits: 4 * time.Second,
			fails: "only 1 of the other 2 voters are healthy",
		},
		"it serves meanwhile": {
			stuck: 4 * time.Second, while: func(c *three) { c.e.Members[1].Healthy = true }, waits: 4 * time.Second, fails: "serves",
		},
		"the host hangs": {stuck: -1, waits: lineTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				three := newThree(t)
				three.e.Members[1].Healthy = false
				began := time.Now()
				three.sends = func(ctx context.Context) (bool, error) {
					if len(three.did) > 0 {
						t.Error("it is asked for when it is too late")
					}
					if c.stuck < 0 {
						<-ctx.Done()
						return false, ctx.Err()
					}
					if c.while != nil {
						c.while(three)
					}
					return time.Since(began) >= c.stuck, c.err
				}
				err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, NotServing: true})
				waited := time.Since(began)
				if waited < c.waits || waited > c.waits+2*lineAgain {
					t.Errorf("it has waited %s, want %s", waited, c.waits)
				}
				want := []Effect{EtcdRemove}
				if c.fails != "" {
					want = nil
				}
				if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) || !slices.Equal(three.did, want) {
					t.Errorf("%v, did %v; want %q, %v", err, three.did, c.fails, want)
				}
			})
		})
	}
}

// Who leads may change while the leader that was is asked about its line: it is the new
// one that applies the removal.
func TestTheLineOfWhoLeadsByThenCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		three := newThree(t)
		three.e.Members[1].Healthy = false
		asked := 0
		three.sends = func(context.Context) (bool, error) {
			asked++
			three.e.Members[0].Leader, three.e.Members[2].Leader = false, true
			return asked == 3, nil
		}
		err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, NotServing: true})
		if err != nil || asked != 3 || !slices.Equal(three.did, []Effect{EtcdRemove}) {
			t.Errorf("%v, asked %d times, did %v", err, asked, three.did)
		}
	})
}

// Leaders send to learners, too: one that nobody wants any more may have fallen silent
// just now. One that serves is not waited for.
func TestTheRemovalOfASilentLearnerWaits(t *testing.T) {
	for _, healthy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			three := newThree(t)
			three.e.Members[1].Learner, three.e.Members[1].Healthy = true, healthy
			asked := 0
			three.sends = func(context.Context) (bool, error) {
				asked++
				return asked == 2, nil
			}
			want := 2
			if healthy {
				want = 0
			}
			err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2})
			if err != nil || asked != want || !slices.Equal(three.did, []Effect{EtcdRemove}) {
				t.Errorf("it serves: %v; %v, asked %d times, did %v", healthy, err, asked, three.did)
			}
		})
	}
}

// One that serves is not sent to in vain, and one that leads sends nothing to itself.
func TestNobodyIsAskedForALineThatIsNone(t *testing.T) {
	three := newThree(t)
	if err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Serving: true}); err != nil {
		t.Error(err)
	}
	three.e.Members[1].Healthy, three.e.Members[0].Leader = false, false
	if err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, NotServing: true}); err != nil {
		t.Error(err)
	}
}
