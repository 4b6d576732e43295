package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// setbackCounts is how long a node whose member died is chosen after the others.
const setbackCounts = time.Hour

// wantedNodes chooses the voters' nodes. Those that carry a member keep it: no
// healthy member is moved for a nicer place. The open seats go to the best of the
// rest, one after another, for each changes what is best for the next.
func (in input) wantedNodes() []cluster.Node {
	chosen := in.keep(in.carriers(), in.spec.WantedVoters())
	keep := len(chosen)
	spares := slices.DeleteFunc(in.spares(), func(n cluster.Node) bool { return in.drained(n.Hostname) })
	for len(chosen) < in.spec.WantedVoters() && len(spares) > 0 {
		best := 0
		for i := range spares {
			if in.seat(spares[i], chosen).less(in.seat(spares[best], chosen)) {
				best = i
			}
		}
		chosen = append(chosen, spares[best])
		spares = slices.Delete(spares, best, best+1)
	}
	order := func(n cluster.Node) int {
		return slices.IndexFunc(in.spec.Nodes, func(o cluster.Node) bool { return o.Hostname == n.Hostname })
	}
	slices.SortFunc(chosen[keep:], func(a, b cluster.Node) int { return cmp.Compare(order(a), order(b)) })
	return chosen
}

// carriers are the nodes of the spec that may carry a member and do, in its order;
// spares those that may and do not.
func (in input) carriers() []cluster.Node { return in.able(true) }

func (in input) spares() []cluster.Node { return in.able(false) }

func (in input) able(carries bool) []cluster.Node {
	var nodes []cluster.Node
	for _, n := range in.spec.Nodes {
		if _, ok := in.st.Etcd.MemberAt(n); n.ControlPlane && ok == carries {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// keep leaves out whom the spec has no seat for any more: first who does not vote,
// then who has been dead for long, then one of the fullest zone, the last in the
// spec's order of these.
func (in input) keep(nodes []cluster.Node, most int) []cluster.Node {
	for len(nodes) > most {
		worst := 0
		for i, n := range nodes {
			if in.dispensable(n, nodes) >= in.dispensable(nodes[worst], nodes) {
				worst = i
			}
		}
		nodes = slices.Delete(nodes, worst, worst+1)
	}
	return nodes
}

func (in input) dispensable(n cluster.Node, among []cluster.Node) int {
	m, _ := in.st.Etcd.MemberAt(n)
	switch {
	case m.Learner:
		return 1 << 20
	case in.dead(m):
		return 1 << 10
	default:
		return inZone(n.Zone, among)
	}
}

// dead: it has not served for replace_after, nor its peers as far as can be known. A
// host is asked about that after a while only, and now and then, and however short
// replace_after is, its answer is waited for, and holds until the next.
func (in input) dead(m cluster.Member) bool {
	return in.silence(m) >= in.spec.Etcd.ReplaceAfter.Std() && !in.node(in.name(m)).PartUnknown && !in.takesPart(m)
}

// silence is how long a member has not served that should have: one under
// maintenance need not, and afterwards is given time anew, as all are after there
// was no quorum. One that only cke does not reach serves its peers, and a learner none
// before it has been sent all there is.
func (in input) silence(m cluster.Member) time.Duration {
	if m.Healthy || m.UnhealthySince.IsZero() {
		return 0
	}
	ns := in.node(in.name(m))
	since := later(later(m.UnhealthySince, in.st.Etcd.QuorumSince), ns.TookPart)
	if in.isSent(m, ns) {
		since = later(since, ns.GrewAt)
	}
	for _, d := range in.st.Drains {
		switch {
		case d.Node != in.name(m):
		case !d.Over():
			return 0
		case d.Ended.After(since):
			since = d.Ended
		}
	}
	return in.now.Sub(since)
}

// besideDB is what a learner may hold besides the database it is sent: its log, of which
// etcd takes 128 MiB from the start, and what has come to it since.
const besideDB = 256 << 20

// isSent: what makes a learner's data grow is what the others send, however slowly. It
// applies that once it has it, and is given time for that too; what is more than twice as
// large as a voter's database came from nobody.
func (in input) isSent(m cluster.Member, ns cluster.NodeState) bool {
	d, known := ns.Dir(m.ID)
	return m.Learner && (!known || d.Bytes < 2*in.largestDB()+besideDB)
}

// largestDB is how large a serving voter's database is at most.
func (in input) largestDB() (most int64) {
	for _, m := range in.st.Etcd.HealthyVoters() {
		most = max(most, m.DBSize)
	}
	return most
}

func inZone(zone string, nodes []cluster.Node) int {
	count := 0
	for _, n := range nodes {
		if n.Zone == zone {
			count++
		}
	}
	return count
}

// seat is how good a spare is for a seat, the most important first; less is
// better.
type seat struct{ unfit, setback, zone, disk int }

func (s seat) less(o seat) bool {
	return cmp.Or(cmp.Compare(s.unfit, o.unfit), cmp.Compare(s.setback, o.setback), cmp.Compare(s.zone, o.zone), cmp.Compare(s.disk, o.disk)) < 0
}

func (in input) seat(n cluster.Node, chosen []cluster.Node) seat {
	s := seat{zone: inZone(n.Zone, chosen), disk: diskClass(in.node(n.Hostname).Measured)}
	if in.unfit(n) != "" {
		s.unfit = 1
	}
	if b, ok := in.st.Setbacks[n.Hostname]; ok && in.now.Sub(b.Last) < setbackCounts {
		s.setback = 1
	}
	return s
}

// diskClass puts disks of about the same speed together, so that noise does not
// choose: all that are as fast as etcd asks for, those up to four times slower, and
// so on. Until it was measured one nothing is known of counts as fast.
func diskClass(m *cluster.Measured) int {
	class := 0
	if m == nil || m.Err != "" {
		return class
	}
	for limit := warnFsync; m.Machine.Fsync.P99 > limit; limit *= 4 {
		class++
	}
	return class
}

// unfit says why a spare cannot take a seat now, as far as is known.
func (in input) unfit(n cluster.Node) string {
	ns := in.node(n.Hostname)
	switch {
	case !ns.Reachable():
		return "its host does not answer: " + ns.Err
	case ns.Fenced != "":
		return ns.Fenced
	case in.drained(n.Hostname):
		return "it is drained"
	}
	if r, ok := cannotCarry(in, n); ok {
		return r.Text
	}
	if r, ok := in.putOff(n); ok {
		return r.Text
	}
	if m := ns.Measured; m != nil && m.Address == n.Address && in.now.Sub(m.At) < preflightHolds {
		return failures(CheckNode(in.spec, n, *m, slices.DeleteFunc(in.carriers(), func(o cluster.Node) bool { return o.Hostname == n.Hostname })))
	}
	return ""
}

func failures(checks []cluster.Check) string {
	var texts []string
	for _, c := range checks {
		if c.Verdict == cluster.CheckFail {
			texts = append(texts, c.Name+": "+c.Text)
		}
	}
	return strings.Join(texts, "; ")
}

// putOff: its last learners never came to vote, so it is given time.
func (in input) putOff(n cluster.Node) (Reason, bool) {
	b, ok := in.st.Setbacks[n.Hostname]
	again := b.Again(in.spec.Etcd.ReplaceAfter.Std())
	if !ok || !in.now.Before(again) {
		return Reason{}, false
	}
	return Reason{
		Level: Blocked, Rule: "learnersNeverCame", Node: n.Hostname,
		Text: fmt.Sprintf("its last %d learners did not come to vote within %s; it is tried again at %s", b.Learners, in.spec.Etcd.ReplaceAfter, again.UTC().Format(time.TimeOnly)),
		Hint: "ckecli node logs " + string(n.Hostname) + " tells how they ended",
	}, true
}
