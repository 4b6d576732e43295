// Package observe looks: it asks every host and every member, in parallel and
// each within its own deadline, and puts together the State that was seen. It
// changes nothing and never fails; what could not be learnt is part of the
// State. Its only memory is since when something has been away.
package observe

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/pki"
)

// factsTimeout bounds the question to one host.
const factsTimeout = 5 * time.Second

// Wanted is what CKE's store says about one cluster.
type Wanted struct {
	Spec      cluster.Spec
	Bootstrap cluster.Bootstrap
	Users     []cluster.User
	Leaving   []cluster.Node
	Paused    *cluster.Pause
}

// Nodes are the spec's nodes, then the leaving ones.
func (w Wanted) Nodes() []cluster.Node {
	return append(append([]cluster.Node(nil), w.Spec.Nodes...), w.Leaving...)
}

// Hosts reaches the machine a node lives on.
type Hosts interface {
	Host(n cluster.Node) (host.Host, error)
}

// Options for New.
type Options struct {
	Hosts     Hosts
	Etcd      *etcd.Client
	Authority pki.Authority
	Identity  func() host.Identity
	Now       func() time.Time
	Log       *slog.Logger
}

// Observer observes one cluster. It is safe for concurrent use.
type Observer struct {
	o Options

	mu          sync.Mutex
	unreachable map[cluster.NodeName]time.Time
	unhealthy   map[cluster.MemberID]time.Time
	// endpoints are the members last known, asked even when their host's helper
	// does not answer.
	endpoints map[etcd.Endpoint]bool
	// stopped are the members without a process when their hosts were last
	// asked. A guard, which asks no host, does not wait for their answer.
	stopped map[etcd.Endpoint]bool
}

// New returns an observer that remembers nothing yet.
func New(o Options) *Observer {
	return &Observer{
		o: o, unreachable: map[cluster.NodeName]time.Time{},
		unhealthy: map[cluster.MemberID]time.Time{}, endpoints: map[etcd.Endpoint]bool{}, stopped: map[etcd.Endpoint]bool{},
	}
}

// Observe looks at everything.
func (o *Observer) Observe(ctx context.Context, w Wanted) cluster.State {
	st := cluster.State{
		At: o.o.Now(), Bootstrap: w.Bootstrap, Users: w.Users, Leaving: w.Leaving, Paused: w.Paused,
		Nodes: o.nodes(ctx, w),
	}
	if w.Bootstrap.Phase != cluster.PhaseNew {
		st.Etcd = o.etcdState(ctx, w, st.Nodes)
	}
	return st
}

// Etcd asks the members only, for a guard immediately before an act.
func (o *Observer) Etcd(ctx context.Context, w Wanted) cluster.EtcdState {
	return o.etcdState(ctx, w, nil)
}

// Node asks one host only.
func (o *Observer) Node(ctx context.Context, w Wanted, n cluster.Node) cluster.NodeState {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	h, err := o.o.Hosts.Host(n)
	if err != nil {
		return cluster.NodeState{Err: err.Error()}
	}
	f, err := h.Facts(ctx, w.Spec.Name, n.Address)
	if err != nil {
		return cluster.NodeState{Err: err.Error()}
	}
	fenced, deposed := o.fenced(f)
	return cluster.NodeState{
		Fenced: fenced, Deposed: deposed, Aside: asideNames(f), Arch: f.Arch, Versions: f.Versions, BusyPorts: f.BusyPorts, Foreign: f.Foreign, Unit: f.Unit, Data: f.Data,
		Certificates: o.certificates(w.Spec, n, f),
	}
}

func (o *Observer) nodes(ctx context.Context, w Wanted) map[cluster.NodeName]cluster.NodeState {
	all := w.Nodes()
	states := make([]cluster.NodeState, len(all))
	var wg sync.WaitGroup
	for i, n := range all {
		wg.Go(func() { states[i] = o.Node(ctx, w, n) })
	}
	wg.Wait()
	m := make(map[cluster.NodeName]cluster.NodeState, len(all))
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, n := range all {
		s := states[i]
		s.UnreachableSince = since(o.unreachable, n.Hostname, !s.Reachable(), o.o.Now())
		m[n.Hostname] = s
	}
	return m
}

// since keeps the first moment something was seen away and forgets it when back.
func since[K comparable](memory map[K]time.Time, key K, away bool, now time.Time) time.Time {
	if !away {
		delete(memory, key)
		return time.Time{}
	}
	if t, ok := memory[key]; ok {
		return t
	}
	memory[key] = now
	return now
}

func (o *Observer) fenced(f host.Facts) (why string, deposed bool) {
	me := o.o.Identity()
	switch {
	case f.StoreID != "" && f.StoreID != me.StoreID:
		return fmt.Sprintf("the host belongs to the CKE store %s, this one is %s", f.StoreID, me.StoreID), false
	case f.Epoch > me.Epoch:
		return fmt.Sprintf("a newer leader of this store has acted on the host (epoch %d, this one is %d)", f.Epoch, me.Epoch), true
	default:
		return "", false
	}
}

func asideNames(f host.Facts) []string {
	var names []string
	for _, a := range f.Aside {
		names = append(names, a.Name)
	}
	return names
}

// Deposed asks every host whether a newer leader of this store has acted on it.
func (o *Observer) Deposed(ctx context.Context, w Wanted) (cluster.NodeName, bool) {
	for name, ns := range o.nodes(ctx, w) {
		if ns.Deposed {
			return name, true
		}
	}
	return "", false
}

func (o *Observer) certificates(spec cluster.Spec, n cluster.Node, f host.Facts) []string {
	return pki.CheckMember(pki.MemberFiles{
		ServerCert: f.Public[host.ServerCert], PeerCert: f.Public[host.PeerCert],
		ClientCA: f.Public[host.ClientCA], PeerCA: f.Public[host.PeerCA], CRL: f.Public[host.ClientCRL],
		ServerKeyFits: f.KeyFits[host.ServerKey], PeerKeyFits: f.KeyFits[host.PeerKey],
	}, spec, n, o.o.Authority, o.o.Now())
}

// etcdState asks the members whose process runs and those last known. With no
// node states at hand only the latter are asked, but for those that were stopped.
func (o *Observer) etcdState(ctx context.Context, w Wanted, nodes map[cluster.NodeName]cluster.NodeState) cluster.EtcdState {
	all := w.Nodes()
	e := o.o.Etcd.Observe(ctx, o.ask(w, nodes), all)
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.o.Now()
	for i := range e.Members {
		m := &e.Members[i]
		m.UnhealthySince = since(o.unhealthy, m.ID, !m.Healthy, now)
	}
	if e.Quorum {
		o.remember(e, all)
	}
	return e
}

func (o *Observer) ask(w Wanted, nodes map[cluster.NodeName]cluster.NodeState) []etcd.Endpoint {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := len(o.endpoints) > 0
	var eps []etcd.Endpoint
	for _, n := range w.Nodes() {
		ep := etcd.Endpoint(n.ClientURL())
		ns, looked := nodes[n.Hostname]
		runs := ns.Unit != nil && ns.Unit.Running
		if looked {
			o.stopped[ep] = ns.Reachable() && !runs
		}
		silent := looked && !ns.Reachable() && (o.endpoints[ep] || !known && n.ControlPlane)
		if runs || silent || !looked && o.endpoints[ep] && !o.stopped[ep] {
			eps = append(eps, ep)
		}
	}
	return eps
}

// remember keeps the endpoints of the present membership and drops the memory
// of members that are gone.
func (o *Observer) remember(e cluster.EtcdState, all []cluster.Node) {
	o.endpoints = map[etcd.Endpoint]bool{}
	present := map[cluster.MemberID]bool{}
	var urls []string
	for _, m := range e.Members {
		present[m.ID] = true
		if ep, ok := etcd.Of(all, m.PeerURL); ok {
			o.endpoints[ep] = true
			urls = append(urls, string(ep))
		} else if m.ClientURL != "" {
			urls = append(urls, m.ClientURL)
		}
	}
	for id := range o.unhealthy {
		if !present[id] {
			delete(o.unhealthy, id)
		}
	}
	o.o.Etcd.Keep(urls)
}

// Endpoints are the client URLs of the membership last known.
func (o *Observer) Endpoints() []etcd.Endpoint {
	o.mu.Lock()
	defer o.mu.Unlock()
	eps := make([]etcd.Endpoint, 0, len(o.endpoints))
	for ep := range o.endpoints {
		eps = append(eps, ep)
	}
	return eps
}
