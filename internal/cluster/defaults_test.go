package cluster

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cke/internal/units"
)

// nodes makes control-plane nodes cp1, cp2, … on 10.0.0.1, 10.0.0.2, …
func nodes(n int) []Node {
	var out []Node
	for i := 1; i <= n; i++ {
		out = append(out, Node{
			Address:      netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}),
			Hostname:     NodeName("cp" + string(rune('0'+i))),
			ControlPlane: true,
		})
	}
	return out
}

func compareAddr() cmp.Option {
	return cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
}

func TestWithDefaults(t *testing.T) {
	in := Spec{Name: "main", Nodes: []Node{{Address: netip.MustParseAddr("::ffff:10.0.0.1"), Hostname: "cp1", ControlPlane: true}}}
	want := Spec{
		Name: "main", ClusterDomain: "cluster.local",
		Nodes: []Node{{Address: netip.MustParseAddr("10.0.0.1"), Hostname: "cp1", ControlPlane: true}},
		Etcd:  Etcd{Version: "3.7.3", ReplaceAfter: units.Duration(5 * time.Minute), Quota: 8 << 30, CompactionRetention: units.Duration(5 * time.Minute), Defrag: Defrag{FreeRatio: 45, MinFree: 100 << 20}},
		// min_free stays out: it follows the quota.
		Preflight: Preflight{MaxClockSkew: units.Duration(time.Second), MaxFsync: units.Duration(100 * time.Millisecond), MinOpenFiles: 4096},
		Kubernetes: Kubernetes{
			APIServer: ClientFiles{Directory: "/etc/kubernetes/pki", Owner: "root", Group: "root", Mode: "0600"}, GatewayPort: 12379,
		},
	}
	got := in.WithDefaults()
	if d := cmp.Diff(want, got, compareAddr()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, got.WithDefaults(), compareAddr()); d != "" {
		t.Error("a second time changes it:", d)
	}
	if !in.Nodes[0].Address.Is4In6() {
		t.Error("WithDefaults changes the nodes of its receiver")
	}
}

func TestWithDefaultsKeepsWhatIsSaid(t *testing.T) {
	in := Spec{
		Name: "main", ClusterDomain: "example.org", Nodes: nodes(3),
		Etcd:      Etcd{Version: "3.6.13", Members: 1, ReplaceAfter: 7, Quota: 9, CompactionRetention: 8, ExtraArgs: map[string]string{"a": "b"}, Defrag: Defrag{FreeRatio: 5, MinFree: 6}},
		Preflight: Preflight{MaxClockSkew: 1, MinFree: 2, MaxFsync: 3, MinOpenFiles: 4},
		Kubernetes: Kubernetes{
			Kubeconfig: "/k", APIServer: ClientFiles{Directory: "/d", Owner: "o", Group: "g", Mode: "0640"}, GatewayPort: 9,
		},
	}
	if d := cmp.Diff(in, in.WithDefaults(), compareAddr()); d != "" {
		t.Error(d)
	}
}

func TestMinFreeFollowsTheQuota(t *testing.T) {
	s := Spec{Etcd: Etcd{Quota: 9}}
	if s.MinFree() != 9 {
		t.Errorf("min free %s", s.MinFree())
	}
	if s.Preflight.MinFree = 3; s.MinFree() != 3 {
		t.Errorf("min free %s", s.MinFree())
	}
}

func TestWantedVoters(t *testing.T) {
	for _, c := range []struct{ nodes, members, want int }{{0, 0, 0}, {3, 0, 3}, {3, 1, 1}, {3, 3, 3}, {3, 5, 3}} {
		s := Spec{Nodes: append(nodes(c.nodes), Node{Hostname: "worker"}), Etcd: Etcd{Members: c.members}}
		if got := s.WantedVoters(); got != c.want {
			t.Errorf("%d control-plane nodes with members %d want %d voters, not %d", c.nodes, c.members, c.want, got)
		}
	}
}
