package execute

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// A member that serves is stopped before its removal, so that etcd itself ends the
// connections of its clients. What becomes of the others meanwhile counts.
func TestAMemberIsStoppedBeforeItIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		before, stopped func(*three)
		stops           error
		did             []Effect
		err             string
	}{
		"all is well":              {did: []Effect{HostStopUnit, EtcdRemove}},
		"another is ill":           {before: func(c *three) { c.e.Members[2].Healthy = false }, err: "only 1 of the other 2 voters serve"},
		"it leads by now":          {before: func(c *three) { c.e.Members[0].Leader, c.e.Members[1].Leader = false, true }, err: "leads"},
		"its host refuses":         {stops: errors.New("the disk hangs"), did: []Effect{HostStopUnit}, err: "the disk hangs"},
		"another falls meanwhile":  {stopped: func(c *three) { c.e.Members[2].Healthy = false }, did: []Effect{HostStopUnit}, err: "only 1 of the other 2 voters are healthy"},
		"the quorum is lost by it": {stopped: func(c *three) { c.e.Quorum = false }, did: []Effect{HostStopUnit}, err: "no quorum now"},
	} {
		t.Run(name, func(t *testing.T) {
			three := newThree(t)
			if c.before != nil {
				c.before(three)
			}
			three.stopped = func() error {
				if c.stops == nil {
					three.e.Members[1].Healthy = false
				}
				if c.stopped != nil {
					c.stopped(three)
				}
				return c.stops
			}
			err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Serving: true, StopFirst: true})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !slices.Equal(three.did, c.did) {
				t.Errorf("%v, did %v; want %q, %v", err, three.did, c.err, c.did)
			}
		})
	}
}
