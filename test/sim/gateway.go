package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/record"
)

// gateway is a machine's: the list it goes by, and the connections it has made.
type gateway struct {
	list cluster.Gateway
	down bool
	// since is when each upstream came into the list as it is there; until is up to
	// when there are connections to one that drains or has left the list.
	since, until map[cluster.NodeName]time.Time
}

// How long a connection takes to find a quiet moment.
const (
	quietLeast = 50 * time.Millisecond
	quietMost  = 4 * time.Second
)

// heed has it go by another list.
func (g *gateway) heed(m *machine, list cluster.Gateway) {
	w, was := m.w, g.list.Upstreams
	g.down, g.list = false, list
	left := slices.Clone(was)
	for _, u := range list.Upstreams {
		left = slices.DeleteFunc(left, func(o cluster.Upstream) bool { return o.Node == u.Node })
		if !slices.Contains(was, u) {
			g.since[u.Node] = w.raft.at
		}
		switch {
		case !u.Draining || u.Restarting:
			delete(g.until, u.Node)
		case !slices.Contains(was, u):
			g.until[u.Node] = w.raft.at.Add(w.between("quiet "+string(m.name()), quietLeast, quietMost))
		}
	}
	for _, u := range left {
		if _, closing := g.until[u.Node]; !closing {
			g.until[u.Node] = w.raft.at.Add(w.between("quiet "+string(m.name()), quietLeast, quietMost))
		}
	}
}

// connections are the open ones.
func (g *gateway) connections(w *World) map[cluster.NodeName]int {
	open := map[cluster.NodeName]int{}
	if g.down {
		return open
	}
	for _, u := range g.list.Upstreams {
		if m := w.machines[u.Node]; m != nil && m.open() && (!u.Draining || u.Restarting) {
			open[u.Node] = 3
		}
	}
	for n, until := range g.until {
		if m := w.machines[n]; m != nil && m.open() && until.After(w.raft.at) {
			open[n] = 1
		}
	}
	return open
}

func (m *machine) gatewayState() *cluster.GatewayState {
	g := m.gateway
	if g == nil {
		return nil
	}
	s := cluster.GatewayState{Gateway: g.list, Running: !g.down, Applied: !g.down, Connections: g.connections(m.w)}
	if g.down {
		s.Exit = "signal: killed"
	}
	return &s
}

// PutGateway implements host.Host.
func (h channel) PutGateway(ctx context.Context, list cluster.Gateway) error {
	m := h.m
	return h.mutate(ctx, "put gateway", func() error {
		if m.runtime() != cluster.RuntimeSystemd {
			return refuse(host.NoGateway, "only a machine with systemd has a gateway")
		}
		if m.gateway == nil {
			m.gateway = &gateway{since: map[cluster.NodeName]time.Time{}, until: map[cluster.NodeName]time.Time{}}
		}
		m.w.judgeGateway(m, list)
		m.gateway.heed(m, list)
		return nil
	})
}

// RemoveGateway implements host.Host.
func (h channel) RemoveGateway(ctx context.Context, _ string) error {
	return h.mutate(ctx, "remove gateway", func() error { h.m.gateway = nil; return nil })
}

// wantGateways changes which nodes are to have one. Without systemd none can.
func (w *World) wantGateways(spec *cluster.Spec, names string) {
	wanted := strings.Split(names, ",")
	for _, m := range w.machines {
		m.node.Gateway = w.o.Systemd && m.node.Remote() && slices.Contains(wanted, string(m.name()))
	}
	spec.Nodes = slices.Clone(spec.Nodes)
	for i, n := range spec.Nodes {
		spec.Nodes[i].Gateway = w.machines[n.Hostname].node.Gateway
	}
}

// wellFor is how long a machine must have been well for its gateway to be counted on:
// nobody waits longer for one than withdrawalPatience.
const wellFor = 20 * time.Second

// leadingThere are the machines whose gateways still send clients to a member that
// serves, or have connections there where those would be cut off, though they could
// have been told otherwise and have others to send them to.
func (w *World) leadingThere(to *machine, leaves bool) (names []cluster.NodeName) {
	if !to.connected(w.raft.at) || w.raft.at.Sub(to.proc.met) < wellFor {
		return nil
	}
	for _, m := range w.all() {
		g := m.gateway
		if g == nil || g.down || !m.hears() || m.slow > 0 || m.obeys.StoreID != storeID || w.raft.at.Sub(m.struck) < wellFor || !w.asksForGateway(m.name()) {
			continue
		}
		others, leads := false, leaves && g.connections(w)[to.name()] > 0
		for _, u := range g.list.Upstreams {
			if u.Node == to.name() {
				leads = leads || !u.Draining && w.raft.at.Sub(g.since[u.Node]) > publishMost
			} else if o := w.machines[u.Node]; o != nil && o.connected(w.raft.at) && !u.Draining {
				others = true
			}
		}
		if leads && others {
			names = append(names, m.name())
		}
	}
	return names
}

func (w *World) asksForGateway(n cluster.NodeName) bool {
	return slices.ContainsFunc(w.shelf.spec.Nodes, func(o cluster.Node) bool { return o.Hostname == n && o.Gateway })
}

// judgeGatewaysLeadAway is of a voter that is about to stop or leave.
func (w *World) judgeGatewaysLeadAway(m *machine, what string, leaves bool) {
	if names := w.leadingThere(m, leaves); len(names) > 0 && !w.editedLately() {
		w.violate("clientsAreLedAwayFirst", "the voter on %s is %s while the gateways on %v lead clients there", m.name(), what, names)
	}
}

// judgeGateway: no gateway is told to send clients nowhere, nor to a stranger.
func (w *World) judgeGateway(m *machine, list cluster.Gateway) {
	if !slices.ContainsFunc(list.Upstreams, func(u cluster.Upstream) bool { return !u.Draining }) {
		w.violate("gatewaysLeadSomewhere", "the gateway on %s is told to send clients nowhere: %v", m.name(), list.Upstreams)
	}
	for _, u := range list.Upstreams {
		o := w.machines[u.Node]
		if o == nil || u.Address.Addr() != o.node.Address || o.runs == 0 {
			w.violate("gatewaysLeadSomewhere", "the gateway on %s is told to send clients to %v, where no member ever was", m.name(), u)
		}
	}
}

// gatewayMisplaced says what is wrong with a machine's gateway at the end.
func (w *World) gatewayMisplaced(m *machine, members map[cluster.NodeName]cluster.MemberID) string {
	g := m.gateway
	switch {
	case !w.asksForGateway(m.name()) && g != nil:
		return fmt.Sprintf("%s has a gateway that nobody asks for", m.name())
	case !w.asksForGateway(m.name()):
		return ""
	case g == nil || g.down || len(g.list.Upstreams) != len(members):
		return fmt.Sprintf("%s lacks a gateway that leads to all members: %+v", m.name(), g)
	}
	for _, u := range g.list.Upstreams {
		if _, is := members[u.Node]; !is || u.Draining {
			return fmt.Sprintf("the gateway on %s leads to %v", m.name(), g.list.Upstreams)
		}
	}
	return ""
}

// floods is how many records of one deed are too many. A gateway gets three lists for
// each member that is restarted.
func (w *World) floods(r record.Record) int {
	if r.Step != nil && r.Step.Kind == plan.PutGateway {
		return 8 * flood
	}
	return flood
}
