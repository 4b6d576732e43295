package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// withdrawalPatience is how long a member waits for its endpoint to be withdrawn
// before it is taken out all the same: etcd's care does not hang on Kubernetes,
// nor on a machine that has a gateway.
const withdrawalPatience = 10 * time.Second

// parting is how a voter takes leave before it is removed or stopped, or stands still
// for a while.
type parting struct {
	member cluster.Member
	why    string
	// does is what it does then: "goes".
	does string
	// stops: it is stopped, to be started again sooner or later or taken out then, and
	// etcd itself ends the connections of its clients.
	stops bool
	// alone: nobody could take over from it, so it goes as it is.
	alone bool
	// heir finds who leads afterwards; nobody is what is said where there is none.
	heir   func() (cluster.Member, bool)
	nobody string
}

// takesLeave leads leadership and then clients away from a voter. Once both are
// elsewhere, or clients could not be led away, it is ready, and why has what is to be
// said of it.
func (in input) takesLeave(p parting) (v verdict, why string, ready bool) {
	m := p.member
	if p.alone {
		return v, p.why, true
	}
	if m.Healthy {
		v.outgoing, v.stops = m.ID, p.stops
	}
	if m.Leader {
		to, ok := p.heir()
		if !ok {
			v.reasons = []Reason{{
				Level: Waiting, Rule: "nobodyToLead", Node: in.name(m),
				Text: fmt.Sprintf("%s; %s", p.why, orElse(p.nobody, "no other member can lead meanwhile")),
			}}
			return v, p.why, false
		}
		v.steps = []Step{moveStep(in, m, to, p.why)}
		return v, p.why, false
	}
	r, ok := in.stillOffered(p)
	if !ok {
		return v, p.why, true
	}
	v.reasons = []Reason{r}
	return v, p.why + "; " + r.Text, r.Level != Waiting
}

// stillOffered says who still sends clients to a serving voter that is to go: a
// reason to wait or, after a while, a note that nobody waits any longer.
func (in input) stillOffered(p parting) (Reason, bool) {
	m := p.member
	n, known := in.nodeOf(m)
	if !known || !m.Healthy || !in.othersServe(m) {
		return Reason{}, false
	}
	who := in.offering(n)
	if len(who) == 0 {
		return Reason{}, false
	}
	since, begun := in.st.WithdrawnSince[m.ID]
	if begun && in.now.Sub(since) >= withdrawalPatience {
		return Reason{
			Level: Note, Rule: "endpointCouldNotBeWithdrawn", Node: n.Hostname,
			Text: fmt.Sprintf("after %s clients are still sent there by %s, and it %s all the same", withdrawalPatience, strings.Join(who, ", "), p.does),
		}, true
	}
	return Reason{
		Level: Waiting, Rule: "endpointIsBeingWithdrawn", Node: n.Hostname,
		Text: fmt.Sprintf("%s, and %s once no client is sent there any more, or after %s; still sending: %s", p.why, p.does, withdrawalPatience, strings.Join(who, ", ")),
	}, true
}

// offering names who sends clients to the member on a node: Kubernetes, and the
// gateways whose list is not known to leave it out, or that have connections there.
func (in input) offering(n cluster.Node) []string {
	var who []string
	if in.st.Published.Offers(n.Address.Unmap()) {
		who = append(who, "Kubernetes")
	}
	for _, g := range in.spec.Nodes {
		ns := in.node(g.Hostname)
		if g.Gateway && usable(ns) && offers(ns.Gateway, n.Hostname, in.outgoing.stops) {
			who = append(who, "the gateway on "+string(g.Hostname))
		}
	}
	return who
}

// offers: of a member that is stopped the connections there are left to etcd, which
// ends them without a request being lost.
func offers(g *cluster.GatewayState, to cluster.NodeName, stops bool) bool {
	if g == nil || !g.Running {
		return false
	}
	// A connection that is left has its requests cut off when the member goes; the
	// gateway ends it at the next quiet moment.
	return !g.Applied || !stops && g.Connections[to] > 0 ||
		slices.ContainsFunc(g.Gateway.Upstreams, func(u cluster.Upstream) bool { return u.Node == to && !u.Draining })
}

// Parting is the member that one of these steps takes out or stops, if any does.
func Parting(others []UnderWay) *cluster.Parting {
	for _, o := range others {
		switch o.Step.Kind {
		case RestartMember, StopMember:
			return &cluster.Parting{Member: o.Step.Member, Stops: true}
		case RemoveMember, Defragment:
			return &cluster.Parting{Member: o.Step.Member, Stops: o.Step.StopFirst}
		}
	}
	return nil
}

// onItsWay is a serving voter that a step under way takes out. The step may wait for a
// slow host, or for etcd, and no client is sent back just before the member goes.
func (in input) onItsWay() leaver {
	p := in.st.Parting
	if p == nil || tooFew(in.st.Etcd) {
		return leaver{}
	}
	if m, ok := in.st.Etcd.Member(p.Member); !ok || m.Learner || !m.Healthy {
		return leaver{}
	}
	return leaver{p.Member, p.Stops}
}
