package observe

import (
	"context"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// guess is a question to the members that went out before the hosts told which
// of them run.
type guess struct {
	o      *Observer
	nodes  []cluster.Node
	asked  []etcd.Endpoint
	cancel context.CancelFunc
	said   chan cluster.EtcdState
}

// askEarly asks the members last known, while the hosts are being asked.
func (o *Observer) askEarly(ctx context.Context, w Wanted) *guess {
	ctx, cancel := context.WithCancel(ctx)
	g := &guess{o: o, nodes: w.Nodes(), asked: o.ask(w, nil), cancel: cancel, said: make(chan cluster.EtcdState, 1)}
	if len(g.asked) > 0 {
		go func() { g.said <- o.o.Etcd.Observe(ctx, g.asked, g.nodes) }()
	}
	return g
}

// about is what exactly these members say.
func (g *guess) about(ctx context.Context, endpoints []etcd.Endpoint) cluster.EtcdState {
	if len(endpoints) > 0 && slices.Equal(endpoints, g.asked) {
		e := <-g.said
		g.asked = nil
		return e
	}
	g.drop()
	return g.o.o.Etcd.Observe(ctx, endpoints, g.nodes)
}

// drop gives up an answer nobody has taken.
func (g *guess) drop() {
	g.cancel()
	if len(g.asked) > 0 {
		<-g.said
		g.asked = nil
	}
}

// conclude adds what only time tells to what the members said when they were
// asked at that time.
func (o *Observer) conclude(w Wanted, e cluster.EtcdState, at time.Time) cluster.EtcdState {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.o.Now()
	for i := range e.Members {
		m := &e.Members[i]
		m.UnhealthySince = since(o.unhealthy, m.ID, !m.Healthy, now)
	}
	o.pursue(&e, now)
	e.QuorumSince = o.quorum.seen(e.Quorum, now)
	o.space.compaction(&e, now)
	if before, ok := o.trail.Before(at); ok {
		e.Before = &before
	}
	if front, ok := e.Front(at); ok {
		o.trail = o.trail.With(front)
	}
	if e.Quorum {
		o.setbacks = o.setbacks.After(o.members, e.Members, w.Nodes(), w.Spec.Etcd.ReplaceAfter.Std(), now)
		o.members = e.Members
		o.remember(e, w.Nodes())
	}
	return e
}

// ask names the members whose process runs and those last known. With no node
// states at hand only the latter, but for those that were stopped.
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

// knownSetbacks are never changed once they are there.
func (o *Observer) knownSetbacks() cluster.Setbacks {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.setbacks
}

// AskAgain has the member on a node asked by the next guard, even if it had no
// process when its host was last looked at.
func (o *Observer) AskAgain(n cluster.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.stopped, etcd.Endpoint(n.ClientURL()))
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
