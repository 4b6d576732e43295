package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// publication is Kubernetes, as far as it is told of the endpoints.
type publication struct {
	wanted bool
	away   bool
	told   []cluster.Endpoint // by the last look
	ready  []netip.Addr       // what clients are sent to; never changed in place
}

// publish is what is told to Kubernetes a moment after each look. An empty list
// is not.
func (s *sim) publish() {
	var ready []netip.Addr
	for _, e := range s.kube.told {
		if e.Ready {
			ready = append(ready, e.Address)
		}
	}
	if s.kube.wanted && !s.kube.away && len(ready) > 0 {
		s.kube.ready = ready
	}
}

// drawTenants has a remote machine carry an API server or a gateway.
func drawTenants(t *rapid.T, n cluster.Node) cluster.Node {
	if n.Remote() {
		n.APIServer, n.Gateway = rapid.Bool().Draw(t, "apiserver"), rapid.Bool().Draw(t, "gateway")
	}
	return n
}

func (s *sim) tenantFaults(on func(string, func(*box)) func(*rapid.T)) map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"API server's certificate due":  on("API server's certificate due", func(b *box) { b.clientDue = b.client }),
		"API server's certificate lost": on("API server's certificate lost", func(b *box) { b.client, b.clientDue = false, false }),
		"Kubernetes away":               func(*rapid.T) { s.kube.away = true },
		"Kubernetes back":               func(*rapid.T) { s.kube.away = false },
	}
	gateways := func(do func(*cluster.GatewayState)) func(*box) {
		return func(b *box) {
			if b.gateway != nil {
				do(b.gateway)
			}
		}
	}
	maps.Copy(all, map[string]func(*rapid.T){
		"gateway ends":     on("gateway ends", gateways(func(g *cluster.GatewayState) { g.Running, g.Applied = false, false })),
		"gateway outdated": on("gateway outdated", gateways(func(g *cluster.GatewayState) { g.Outdated = true })),
		"gateway stale":    on("gateway stale", gateways(func(g *cluster.GatewayState) { g.Applied = false })),
	})
	return all
}

func (s *sim) tenantFacts(b *box, ns *cluster.NodeState) {
	if b.gateway != nil {
		g := *b.gateway
		g.Gateway.Upstreams = slices.Clone(g.Gateway.Upstreams)
		ns.Gateway = &g
	}
	asked := slices.ContainsFunc(s.nodes(), func(n cluster.Node) bool { return n.Hostname == b.node.Hostname && n.APIServer })
	if asked && (!b.client || b.clientDue) {
		ns.APIServer, ns.APIServerFails = []string{"apiserver-etcd-client.crt is due"}, !b.client
	}
}

func (s *sim) observeKubernetes(st *cluster.State) {
	if s.kube.wanted {
		st.Published = cluster.Published{Wanted: true, Ready: slices.Clone(s.kube.ready)}
		if s.kube.away {
			st.Published.Trouble = "no answer"
		}
	}
	going := map[cluster.MemberID]time.Time{}
	st.WithdrawnSince = maps.Clone(s.eyes.withdrawn)
	for _, e := range Endpoints(s.store.spec, *st, s.now) {
		if e.Terminating {
			going[e.Member] = since(s.eyes.withdrawn, e.Member, true, s.now)
		}
	}
	s.eyes.withdrawn = maps.Clone(going)
	st.WithdrawnSince = going
}

// serveTenants is one node's part of what is done for Kubernetes.
func (h *hand) serveTenants(step Step, b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	return h.does(string(step.Kind)+" on "+string(b.node.Hostname), func() error {
		switch step.Kind {
		case InstallClientCertificates:
			b.client, b.clientDue = true, false
		case PutGateway:
			g := *step.Gateway
			g.Upstreams = slices.Clone(g.Upstreams)
			b.gateway = &cluster.GatewayState{Gateway: g, Running: true, Applied: true}
		default:
			b.gateway = nil
		}
		return nil
	})
}

// judgeEndpoints holds what clients are told against what was seen, and every
// removal against who still sends clients there.
func (s *sim) judgeEndpoints(st cluster.State, p Plan) {
	eps := Endpoints(s.store.spec, st, s.now)
	serving, ready, going := 0, 0, cluster.MemberID(0)
	for _, e := range eps {
		m, ok := st.Etcd.Member(e.Member)
		if !ok || m.Learner || e.Serving != m.Healthy || e.Ready && (!e.Serving || e.Terminating) || e.Terminating && going != 0 {
			s.t.Fatalf("an endpoint %+v of a member %+v", e, m)
		}
		if e.Serving {
			serving++
		}
		if e.Ready {
			ready++
		}
		if e.Terminating {
			going = e.Member
		}
	}
	if serving > 0 && ready == 0 {
		s.t.Fatalf("members serve and clients are told of none: %+v", eps)
	}
	for _, step := range p.Steps {
		s.judgeSteering(st, eps, going, step)
	}
	s.kube.told = eps
}

func (s *sim) judgeSteering(st cluster.State, eps []cluster.Endpoint, going cluster.MemberID, step Step) {
	switch step.Kind {
	case PutGateway:
		if len(step.Gateway.Upstreams) == 0 {
			s.t.Fatalf("a gateway is to lead nowhere: %s", step)
		}
	case InstallClientCertificates:
		if s.store.boot.Phase != cluster.PhaseBootstrapped {
			s.t.Fatalf("a tenant gets a certificate in phase %q", s.store.boot.Phase)
		}
	case RemoveMember:
		i := slices.IndexFunc(eps, func(e cluster.Endpoint) bool { return e.Member == step.Member })
		if i < 0 || !eps[i].Serving || !slices.ContainsFunc(eps, func(e cluster.Endpoint) bool { return e.Serving && e.Member != step.Member }) {
			return // a learner, dead, or nobody else serves whom clients know
		}
		if going != step.Member {
			s.t.Fatalf("%s, and clients are not told that it goes", step)
		}
		if s.now.Sub(st.WithdrawnSince[step.Member]) >= 10*time.Second {
			return
		}
		if who := s.sending(eps[i]); who != "" {
			s.t.Fatalf("%s, and clients are still sent there by %s", step, who)
		}
	}
}

// sending is who truly sends clients to a member, of those that would hear.
func (s *sim) sending(to cluster.Endpoint) string {
	if s.kube.wanted && !s.kube.away && slices.Contains(s.kube.ready, to.Address) {
		return "Kubernetes"
	}
	for _, n := range s.store.spec.Nodes {
		b := s.hosts[n.Hostname]
		if !n.Gateway || b.admit() != nil || b.gateway == nil || !b.gateway.Running {
			continue
		}
		for _, u := range b.gateway.Gateway.Upstreams {
			if u.Address.Addr() == to.Address && !u.Draining {
				return "the gateway on " + string(n.Hostname)
			}
		}
	}
	return ""
}

// tenantsMisplaced says what for Kubernetes is not as the spec wants it, or
// nothing. Where it comes to rest every voter serves.
func (s *sim) tenantsMisplaced() string {
	want := cluster.Gateway{Cluster: s.store.spec.Name, Port: cluster.DefaultGatewayPort}
	var addresses []netip.Addr
	for _, n := range s.store.spec.Nodes {
		if hasURL(s.raft.agreed, n.PeerURL()) {
			addresses = append(addresses, n.Address)
			want.Upstreams = append(want.Upstreams, cluster.Upstream{Node: n.Hostname, Address: netip.AddrPortFrom(n.Address, 2379)})
		}
	}
	slices.SortFunc(want.Upstreams, func(a, b cluster.Upstream) int { return cmp.Compare(a.Node, b.Node) })
	asked := map[cluster.NodeName]bool{}
	for _, n := range s.store.spec.Nodes {
		b := s.hosts[n.Hostname]
		asked[n.Hostname] = n.Gateway
		if n.APIServer && (!b.client || b.clientDue) {
			return "the API server on " + string(n.Hostname) + " has no good certificate"
		}
	}
	for _, b := range s.boxes() {
		g := b.gateway
		switch name := b.node.Hostname; {
		case !asked[name] && g != nil:
			return string(name) + " has a gateway that nobody wants"
		case asked[name] && (g == nil || !g.Running || !g.Applied || g.Outdated || g.Gateway.Port != want.Port || !slices.Equal(g.Gateway.Upstreams, want.Upstreams)):
			return fmt.Sprintf("the gateway on %s is %+v", name, g)
		}
	}
	return s.mispublished(addresses)
}

func (s *sim) mispublished(want []netip.Addr) string {
	if !s.kube.wanted || s.kube.away {
		return ""
	}
	s.publish()
	got := slices.SortedFunc(slices.Values(s.kube.ready), netip.Addr.Compare)
	slices.SortFunc(want, netip.Addr.Compare)
	if !slices.Equal(want, got) {
		return fmt.Sprintf("Kubernetes offers %s, not %s", got, want)
	}
	return ""
}
