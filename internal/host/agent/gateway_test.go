package agent

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
	"cke/internal/host"
)

// gatewayTo leads to members at these addresses: cp1, cp2 and so on.
func gatewayTo(addresses ...netip.Addr) cluster.Gateway {
	g := cluster.Gateway{Cluster: testCluster, Port: cluster.DefaultGatewayPort}
	for i, a := range addresses {
		g.Upstreams = append(g.Upstreams, cluster.Upstream{
			Node: cluster.NodeName("cp" + string(rune('1'+i))), Address: netip.AddrPortFrom(a, cluster.ClientPort),
		})
	}
	return g
}

func TestGatewayFile(t *testing.T) {
	t.Parallel()
	f := gatewayFile{
		cluster: "prod", program: "/opt/cke/gateway/cke-gateway", list: "/var/lib/cke/gateway/prod.json",
		socket: "/run/cke-gateway/state.sock", maxFiles: 1 << 20,
	}
	got := f.render()
	path := filepath.Join("testdata", "service", "gateway.golden")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c, ours := gatewayOfFile(got); !ours || c != "prod" {
		t.Errorf("it is of %q, %v", c, ours)
	}
	for _, text := range []string{"", "[Unit]\n", gatewayHead, gatewayHead + "../x.\n", gatewayHead + "prod", "x" + got, testFile(nil, true).render()} {
		if _, ours := gatewayOfFile(text); ours {
			t.Errorf("%q is CKE's gateway", text)
		}
	}
	// What a member may not, a gateway may not.
	for _, line := range hardening() {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("it lacks %s", line)
		}
	}
	other := f
	other.maxFiles = 20000
	if f.hash() == other.hash() || !unitHash.MatchString(f.hash()) {
		t.Errorf("hashes %s and %s", f.hash(), other.hash())
	}
}

func TestGatewaysThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	for name, spoil := range map[string]func(g *cluster.Gateway){
		"no port":           func(g *cluster.Gateway) { g.Port = 0 },
		"a port of root's":  func(g *cluster.Gateway) { g.Port = 1023 },
		"a member's port":   func(g *cluster.Gateway) { g.Port = cluster.ClientPort },
		"its HTTP port":     func(g *cluster.Gateway) { g.Port = cluster.ClientHTTPPort },
		"no upstream":       func(g *cluster.Gateway) { g.Upstreams = nil },
		"many":              func(g *cluster.Gateway) { g.Upstreams = make([]cluster.Upstream, maxUpstreams+1) },
		"no address":        func(g *cluster.Gateway) { g.Upstreams[0].Address = netip.AddrPort{} },
		"every address":     func(g *cluster.Gateway) { g.Upstreams[0].Address = netip.MustParseAddrPort("0.0.0.0:2379") },
		"another port":      func(g *cluster.Gateway) { g.Upstreams[0].Address = netip.MustParseAddrPort("10.0.0.1:22") },
		"the peers' port":   func(g *cluster.Gateway) { g.Upstreams[0].Address = netip.MustParseAddrPort("10.0.0.1:2380") },
		"a zone":            func(g *cluster.Gateway) { g.Upstreams[0].Address = netip.MustParseAddrPort("[fe80::1%eth0]:2379") },
		"an address twice":  func(g *cluster.Gateway) { g.Upstreams[0].Address = g.Upstreams[1].Address },
		"a node twice":      func(g *cluster.Gateway) { g.Upstreams[0].Node = g.Upstreams[1].Node },
		"a node that is no": func(g *cluster.Gateway) { g.Upstreams[0].Node = "a\nb" },
	} {
		g := gatewayTo(b.addr, b.addr.Next())
		spoil(&g)
		var i *host.InvalidError
		if err := h.PutGateway(t.Context(), g); !errors.As(err, &i) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Where several nodes share a machine, or systemd is not there, is no gateway.
func TestOnlyAMachineOfItsOwnHasAGateway(t *testing.T) {
	processOnly(t, "it has one")
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	err := h.PutGateway(t.Context(), gatewayTo(b.addr))
	wantGuard(t, err, host.NoGateway)
	if !strings.Contains(err.Error(), "only a machine of its own with systemd") {
		t.Error(err)
	}
	must(t, h.RemoveGateway(t.Context(), testCluster))
	if f := facts(t, h, b); f.Gateway != nil {
		t.Errorf("%+v", f.Gateway)
	}
}

// A list has one form, so that the order of a request is no news.
func TestGatewayListsAreCompared(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	g := gatewayTo(b.addr, b.addr.Next())
	turned := g
	turned.Upstreams = []cluster.Upstream{g.Upstreams[1], g.Upstreams[0]}
	if sameGateway(g, turned) || !sameGateway(g, inOrder(turned)) || turned.Upstreams[0].Node != "cp2" {
		t.Errorf("%+v", turned)
	}
	for _, spoil := range []func(g *cluster.Gateway){
		func(g *cluster.Gateway) { g.Port++ },
		func(g *cluster.Gateway) { g.Cluster = "x" },
		func(g *cluster.Gateway) { g.Upstreams[0].Draining = true },
		func(g *cluster.Gateway) { g.Upstreams = g.Upstreams[:1] },
	} {
		other := g
		other.Upstreams = slices.Clone(g.Upstreams)
		spoil(&other)
		if sameGateway(g, other) {
			t.Errorf("%+v is %+v", other, g)
		}
	}
}

func TestWhoListensIsFound(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", on)
		must(t, err)
		at := netip.MustParseAddrPort(l.Addr().String())
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
		}
		who, err := listenerOf(at)
		if err != nil || who.pid != os.Getpid() || who.name == "" {
			t.Errorf("%s: %+v %v", on, who, err)
		}
		must(t, l.Close())
		eventually(t, on+" is closed, and nobody listens", func() bool { // another test may have its port by now
			who, err := listenerOf(at)
			must(t, err)
			return who.pid != os.Getpid()
		})
	}
}

func TestListening(t *testing.T) {
	t.Parallel()
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(at, state string) string {
		return "   0: " + at + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
	}
	for name, c := range map[string]struct {
		table string
		found bool
	}{
		"nothing":            {head, false},
		"on the address":     {head + line("0100007F:306B", "0A"), true},
		"on all":             {head + line("00000000:306B", "0A"), true},
		"on all, both":       {head + line("00000000000000000000000000000000:306B", "0A"), true},
		"mapped":             {head + line("0000000000000000FFFF00000100007F:306B", "0A"), true},
		"on another address": {head + line("0101007F:306B", "0A"), false},
		"on another port":    {head + line("0100007F:306C", "0A"), false},
		"a connection":       {head + line("0100007F:306B", "01"), false},
		"on ::1":             {head + line("00000000000000000000000001000000:306B", "0A"), false},
	} {
		got, err := listening(c.table, netip.MustParseAddrPort("127.0.0.1:12395"))
		if err != nil || slices.Equal(got, []string{"4711"}) != c.found {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if _, err := listening(head+line("01007F:306B", "0A"), netip.AddrPort{}); err == nil {
		t.Error("three bytes are an address")
	}
}
