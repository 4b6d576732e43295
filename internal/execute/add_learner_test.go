package execute

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/observe"
	"cke/internal/plan"
)

// A step that waited for a slow host adds no learner for a node that an edit has taken
// out meanwhile.
func TestALearnerIsAddedOnlyWhereOneIsWantedStill(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*cluster.Node)
		fails error
		err   string
	}{
		"it is wanted still":    {},
		"it is a worker now":    {edit: func(n *cluster.Node) { n.ControlPlane = false }, err: "cp4 is to carry no member any more"},
		"it is at another host": {edit: func(n *cluster.Node) { n.Address = netip.MustParseAddr("10.0.0.9") }, err: "cp4 is to carry no member any more"},
		"another has its name":  {edit: func(n *cluster.Node) { n.Hostname = "cp5" }, err: "cp4 is to carry no member any more"},
		"nobody can say":        {fails: errors.New("the store is away"), err: "the store is away"},
	} {
		three := newThree(t)
		n := cluster.Node{Hostname: "cp4", Address: netip.MustParseAddr("10.0.0.4"), ControlPlane: true}
		three.w.Spec.Nodes = append(three.w.Spec.Nodes, n)
		three.x.o.Wants = func(context.Context) (observe.Wanted, error) {
			w := three.w
			w.Spec.Nodes = slices.Clone(w.Spec.Nodes)
			if c.edit != nil {
				c.edit(&w.Spec.Nodes[3])
			}
			return w, c.fails
		}
		err := three.run(t.Context(), plan.Step{Kind: plan.AddLearner, Nodes: []cluster.NodeName{"cp4"}})
		added := slices.Equal(three.did, []Effect{EtcdAddLearner})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || added != (c.err == "") {
			t.Errorf("%s: %v, did %v; want %q", name, err, three.did, c.err)
		}
	}
}
