package execute

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/observe"
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

// An edit wants the member again while it is being stopped, which may take a slow host a
// while: it is not removed, and the next plan starts it. So it is with one that is not
// stopped first.
func TestAMemberThatIsWantedAgainIsNotRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		nodes     int // that the spec has by then
		fails     error
		stopFirst bool
		did       []Effect
		err       string
	}{
		"it is wanted again":      {nodes: 3, stopFirst: true, did: []Effect{HostStopUnit}, err: "member 2 on cp2 is wanted again"},
		"it is not":               {nodes: 1, stopFirst: true, did: []Effect{HostStopUnit, EtcdRemove}},
		"nobody can say":          {fails: errors.New("the store is away"), stopFirst: true, did: []Effect{HostStopUnit}, err: "the store is away"},
		"wanted, and not stopped": {nodes: 3, err: "is wanted again"},
	} {
		t.Run(name, func(t *testing.T) {
			three := newThree(t)
			three.stopped = func() error {
				three.e.Members[1].Healthy = false
				return nil
			}
			three.x.o.Wants = func(context.Context) (observe.Wanted, error) {
				w := three.w
				w.Spec.Nodes = w.Spec.Nodes[:c.nodes]
				return w, c.fails
			}
			err := three.run(t.Context(), plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, Serving: true, StopFirst: c.stopFirst})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !slices.Equal(three.did, c.did) {
				t.Errorf("%v, did %v; want %q, %v", err, three.did, c.err, c.did)
			}
		})
	}
}

// So it is with one that does not serve: an edit that wants it again while its leader's
// line is waited for gives it the time that every other has.
func TestASilentMemberThatIsWantedAgainIsNotRemoved(t *testing.T) {
	three := newThree(t)
	three.e.Members[1].Healthy = false
	three.sends = func(context.Context) (bool, error) { return true, nil }
	whole := three.w
	three.x.o.Wants = func(context.Context) (observe.Wanted, error) { return whole, nil }
	three.w.Leaving, three.w.Spec.Nodes = whole.Spec.Nodes[1:2], []cluster.Node{whole.Spec.Nodes[0], whole.Spec.Nodes[2]}
	s := plan.Step{Kind: plan.RemoveMember, Nodes: []cluster.NodeName{"cp2"}, Member: 2, NotServing: true}
	if err := three.run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is wanted again") || len(three.did) > 0 {
		t.Errorf("%v, did %v", err, three.did)
	}
	three.w = whole // it was to be replaced, as dead
	if err := three.run(t.Context(), s); err != nil || !slices.Equal(three.did, []Effect{EtcdRemove}) {
		t.Errorf("%v, did %v", err, three.did)
	}
}
