package observe

import (
	"net/netip"
	"slices"
	"testing"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// TestAsk: which members are asked, in a look at everything and then in a guard
// that asks no host.
func TestAsk(t *testing.T) {
	running := cluster.NodeState{Unit: &cluster.UnitState{Running: true}}
	stopped := cluster.NodeState{Unit: &cluster.UnitState{}}
	silent := cluster.NodeState{Err: "no answer"}
	for _, c := range []struct {
		name        string
		states      [3]cluster.NodeState
		known       []int // the membership last known
		look, guard []int
	}{
		{"all run", [3]cluster.NodeState{running, running, running}, []int{0, 1, 2}, []int{0, 1, 2}, []int{0, 1, 2}},
		{"a stopped one is waited for by neither", [3]cluster.NodeState{running, running, stopped}, []int{0, 1, 2}, []int{0, 1}, []int{0, 1}},
		{"a member of a silent host may serve", [3]cluster.NodeState{running, running, silent}, []int{0, 1, 2}, []int{0, 1, 2}, []int{0, 1, 2}},
		{"a silent host without a member", [3]cluster.NodeState{running, running, silent}, []int{0, 1}, []int{0, 1}, []int{0, 1}},
		{"a new member is known from the next look on", [3]cluster.NodeState{running, running, running}, []int{0, 1}, []int{0, 1, 2}, []int{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := New(Options{})
			w := Wanted{}
			nodes := map[cluster.NodeName]cluster.NodeState{}
			for i, s := range c.states {
				n := cluster.Node{
					Hostname: cluster.NodeName('a' + rune(i)), ControlPlane: true, Address: netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}),
				}
				w.Spec.Nodes = append(w.Spec.Nodes, n)
				nodes[n.Hostname] = s
				o.endpoints[etcd.Endpoint(n.ClientURL())] = slices.Contains(c.known, i)
			}
			for _, asked := range []struct {
				how  string
				got  []etcd.Endpoint
				want []int
			}{{"look", o.ask(w, nodes), c.look}, {"guard", o.ask(w, nil), c.guard}} {
				var want []etcd.Endpoint
				for _, i := range asked.want {
					want = append(want, etcd.Endpoint(w.Spec.Nodes[i].ClientURL()))
				}
				if !slices.Equal(asked.got, want) {
					t.Errorf("a %s asks %v, want %v", asked.how, asked.got, want)
				}
			}
		})
	}
}
