package observe

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
)

const (
	// answerPatience bounds the wait for the hosts to listen: one that does not
	// answer must not hold up the others.
	answerPatience = 2 * time.Second
	// measurePatience bounds everything asked of one host.
	measurePatience = 10 * time.Second
)

// Measure looks whether these nodes could carry a member, and remembers it for
// Observe. Every node that carries one or may takes part: those without a member
// listen for the time being, the measured ones connect to all others and all
// others to them. A host that does not answer takes no part, and that is noted.
func (o *Observer) Measure(ctx context.Context, w Wanted, names []cluster.NodeName) map[cluster.NodeName]cluster.Measured {
	select {
	case o.measuring <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-o.measuring }()
	p := &preflight{o: o, cluster: w.Spec.Name, token: rand.Text()}
	for _, n := range w.Nodes() {
		subject := slices.Contains(names, n.Hostname)
		leaving := slices.Contains(w.Leaving, n)
		if n.ControlPlane || subject || leaving || o.carries(n) {
			s := &party{node: n, subject: subject}
			if !subject && o.slow(n.Hostname) {
				s.silent = "its host is slow to answer, or away"
				s.spared = leaving // it is not for long that anybody has to reach it
			}
			p.parties = append(p.parties, s)
		}
	}
	p.run(ctx)
	measured, learnt := map[cluster.NodeName]cluster.Measured{}, map[cluster.NodeName]cluster.Measured{}
	for _, s := range p.parties {
		if !s.subject {
			continue
		}
		measured[s.node.Hostname] = p.result(s)
		if !unasked(s.err) {
			learnt[s.node.Hostname] = measured[s.node.Hostname]
		}
	}
	if ctx.Err() == nil { // what was cut short says nothing of a host
		o.mu.Lock()
		defer o.mu.Unlock()
		maps.Copy(o.measured, learnt)
	}
	return measured
}

// carries says whether a member of the membership last known is there, which may
// be so on a node that is to carry none any more.
func (o *Observer) carries(n cluster.Node) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endpoints[etcd.Endpoint(n.ClientURL())]
}

// unasked: nothing was sent to the host, so nothing was learnt of it. Why not is
// in its state, and may be over in a moment, such as when its key is trusted.
func unasked(err error) bool {
	var trouble *host.TroubleError
	var unreachable *host.UnreachableError
	return errors.As(err, &trouble) || errors.As(err, &unreachable)
}

// preflight is one run over all nodes that may carry a member.
type preflight struct {
	o       *Observer
	cluster string
	token   string
	parties []*party
}

// party is one node in it.
type party struct {
	node    cluster.Node
	subject bool
	host    host.Host
	// silent is why its host takes no part.
	silent string
	// spared: nobody tries to reach it either.
	spared bool
	// greets are the ports it listens on for the purpose; serves: a member does.
	greets []uint16
	serves bool

	machine cluster.Machine
	skew    time.Duration
	unsure  time.Duration
	err     error
	// reached is by the address of the other end.
	reached  []cluster.Reach
	reachErr error
}

func (p *preflight) run(ctx context.Context) {
	answering, stop := context.WithCancel(ctx)
	var listening, answers, measures sync.WaitGroup
	for _, s := range p.parties {
		if s.silent != "" {
			continue
		}
		var err error
		if s.host, err = p.o.o.Hosts.Host(s.node); err != nil {
			s.silent, s.err = err.Error(), err
			continue
		}
		listening.Add(1)
		answers.Go(func() { p.answer(answering, s, sync.OnceFunc(listening.Done)) })
		if s.subject {
			measures.Go(func() { p.measure(ctx, s) })
		}
	}
	listening.Wait()
	for _, s := range p.parties {
		if s.silent == "" {
			measures.Go(func() { p.reach(ctx, s) })
		}
	}
	measures.Wait()
	stop()
	answers.Wait()
}

// answer makes a host without a member listen until ctx ends. It calls ready
// once that is so, or will not be.
func (p *preflight) answer(ctx context.Context, s *party, ready func()) {
	defer ready()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(answerPatience, func() { cancel(errSilent) })
	defer slow.Stop()
	listens := false
	err := s.host.AnswerPeers(ctx, host.AnswerPeers{Cluster: p.cluster, Address: s.node.Address, Token: p.token}, func(a host.Answering) {
		if slow.Stop() {
			s.greets, listens = a.Ports, true
			ready()
		}
	})
	var guard *host.GuardError
	switch {
	case listens || err == nil: // others read of it by now
	case errors.As(err, &guard):
		f, err := s.host.Facts(ctx, p.cluster, s.node.Address)
		if err != nil {
			s.silent = err.Error()
			return
		}
		s.serves = f.Unit != nil && f.Unit.Running
	case errors.Is(context.Cause(ctx), errSilent):
		s.silent = errSilent.Error()
	case s.subject:
		// Its own measure says what is wrong, such as an address it does not have.
	default:
		s.silent = err.Error()
	}
}

var errSilent = errors.New("its host does not answer")

// measure asks one host about itself. Its clock is compared at the middle of
// what the question's way there and back took (as NTP does, RFC 5905, 8).
func (p *preflight) measure(ctx context.Context, s *party) {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	before := p.o.o.Now()
	s.machine, s.err = s.host.Preflight(ctx, p.cluster, s.node.Address)
	way := p.o.o.Now().Sub(before) - s.machine.Took
	s.unsure = way / 2
	s.skew = s.machine.Clock.Sub(before.Add(s.unsure))
}

// reach makes a measured host connect to all others, and any other one to the
// measured.
func (p *preflight) reach(ctx context.Context, s *party) {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	var peers []host.Peer
	for _, t := range p.parties {
		if t != s && !t.spared && (s.subject || t.subject) {
			peers = append(peers, host.Peer{Address: t.node.Address, Greets: t.greets})
		}
	}
	if len(peers) > 0 {
		s.reached, s.reachErr = s.host.ReachPeers(ctx, host.ReachPeers{Cluster: p.cluster, Token: p.token, Peers: peers})
	}
}

// result puts together what was learnt of one node.
func (p *preflight) result(s *party) cluster.Measured {
	m := cluster.Measured{At: p.o.o.Now(), Address: s.node.Address, Skew: s.skew, Unsure: s.unsure, Machine: s.machine}
	if s.err != nil {
		ns := silent(s.err)
		return cluster.Measured{At: m.At, Address: m.Address, Err: ns.Err, Hint: ns.Hint}
	}
	for _, t := range p.parties {
		if t != s {
			m.Links = append(append(m.Links, links(s, t, false)...), links(t, s, true)...)
		}
	}
	return m
}

// links are the connections from one node to another.
func links(from, to *party, inward bool) []cluster.Link {
	other := to
	if inward {
		other = from
	}
	l := cluster.Link{Other: other.node.Hostname, Inward: inward, Dialer: from.node.Address, Reach: cluster.Reach{Peer: to.node.Address}}
	switch {
	case from.silent != "":
		l.Unasked = from.silent
	case to.spared:
		l.Unasked = to.silent
	case from.reachErr != nil:
		l.Unasked = from.reachErr.Error()
	}
	if l.Unasked != "" {
		return []cluster.Link{l}
	}
	var all []cluster.Link
	for _, r := range from.reached {
		if r.Peer != to.node.Address {
			continue
		}
		l.Reach, l.Listens = r, to.serves || slices.Contains(to.greets, r.Port)
		if r.Err != "" && to.silent != "" {
			l.Unasked = to.silent
		}
		all = append(all, l)
	}
	return all
}
