package observe

import (
	"context"
	"time"

	"cke/internal/cluster"
)

const (
	// muteFor is how long a voter has not served before its host is asked about it, and
	// muteAgain how often then.
	muteFor   = 10 * time.Second
	muteAgain = 5 * time.Second
	// partTimeout is how long that may take.
	partTimeout = 5 * time.Second
)

// partaking is what a host said of a voter that does not answer cke.
type partaking struct {
	open  bool // a question is under way
	heard bool // one was answered, or was in vain
	asked time.Time
	// takes: it takes part in the quorum, as was said last; took is when that was said
	// or, afterwards, when it was not so any more. Zero: it never was.
	takes bool
	took  time.Time
}

// partake finds out about voters that do not answer, while their processes run on hosts
// that do: it may be only cke that does not reach them. Nobody waits for the answer; it
// is part of the next look.
func (o *Observer) partake(w Wanted, st *cluster.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := map[cluster.MemberID]*partaking{}
	for _, n := range w.Nodes() {
		m, ok := st.Etcd.MemberAt(n)
		ns := st.Nodes[n.Hostname]
		if !ok || m.Learner || m.Healthy {
			continue
		}
		p := o.partaking[m.ID]
		if p == nil {
			p = &partaking{}
		}
		next[m.ID] = p
		mute := isMute(m, ns, st.At)
		if p.takes && !mute { // its process has ended, or its host is silent as well
			p.takes, p.took = false, st.At
		}
		if st.Etcd.Quorum && mute && !p.open && st.At.Sub(p.asked) >= muteAgain && o.ctx.Err() == nil {
			p.open, p.asked = true, st.At
			o.wg.Go(func() { o.askPart(w.Spec.Name, n, m.ID, p) })
		}
		ns.TookPart = p.took
		ns.PartUnknown = st.Etcd.Quorum && !p.heard && runsMute(m, ns)
		st.Nodes[n.Hostname] = ns
	}
	o.partaking = next
}

// isMute: it has not served for a while, and may do so for its peers.
func isMute(m cluster.Member, ns cluster.NodeState, now time.Time) bool {
	return now.Sub(m.UnhealthySince) >= muteFor && runsMute(m, ns)
}

// runsMute: the process of a member that does not serve runs on a host that answers.
func runsMute(m cluster.Member, ns cluster.NodeState) bool {
	return ns.Reachable() && ns.Fenced == "" && ns.Unit != nil && ns.Unit.Running && ns.Unit.Unit.Member == m.ID
}

func (o *Observer) askPart(clusterName string, n cluster.Node, id cluster.MemberID, p *partaking) {
	ctx, cancel := context.WithTimeout(o.ctx, partTimeout)
	defer cancel()
	h, err := o.o.Hosts.Host(n)
	var applied uint64
	if err == nil {
		applied, err = h.Progress(ctx, clusterName, id)
	}
	if err != nil {
		o.o.Log.Debug("ask a host about a member that does not answer", "node", n.Hostname, "err", err) // it is not known, then
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.open = false; applied > 0 || p.takes {
		p.took = o.o.Now()
	}
	changed := !p.heard || p.takes != (applied > 0)
	p.heard = true
	if p.takes = applied > 0; changed && o.ctx.Err() == nil {
		select {
		case o.news <- struct{}{}:
		default:
		}
	}
}
