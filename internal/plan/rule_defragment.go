package plan

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

// ruleDefragment gives back what a database no longer needs: on a member that a
// person names, and as a routine where much is free, in the maintenance window.
// Where one member's absence stops the cluster there is no routine: a person says
// when.
func ruleDefragment(in input) verdict {
	e := in.st.Etcd
	if len(e.Alarms) > 0 {
		return verdict{}
	}
	var asked, due []cluster.Member
	var notes []Reason
	for _, m := range e.Members {
		n, known := in.nodeOf(m)
		switch {
		case !known || !m.Healthy:
		case in.askedFor(n.Hostname):
			asked = append(asked, m)
		case m.Learner || !in.muchIsFree(m):
		case in.interrupts(m):
			notes = append(notes, forAPerson(in, m))
		default:
			due = append(due, m)
		}
	}
	v := absentRequests(in)
	v.reasons = append(v.reasons, notes...)
	switch d := in.spec.Etcd.Defrag; {
	case len(asked) > 0:
		return v.and(defragment(in, asked, func(m cluster.Member) string {
			return fmt.Sprintf("%s asked for it, and %s of %s are free", in.requester(m), roundSize(Free(e, m)), roundSize(m.DBSize))
		}))
	case len(due) == 0 || len(e.Learners()) > 0 || len(e.HealthyVoters()) < len(e.Voters()):
		return v // a routine can wait
	case !d.Window.Open(in.now):
		v.reasons = append(v.reasons, Reason{
			Level: Note, Rule: "defragmentationAwaitsWindow", Node: in.name(due[0]),
			Text: fmt.Sprintf("%s, and is defragmented at %s, when the window %q opens", in.howFree(due[0]), d.Window.Next(in.now).Format(time.RFC3339), d.Window),
		})
		return v
	default:
		return v.and(defragment(in, due, in.howFree))
	}
}

func (in input) request(n cluster.NodeName) (cluster.DefragRequest, bool) {
	i := slices.IndexFunc(in.st.Defrag, func(r cluster.DefragRequest) bool { return r.Node == n })
	if i < 0 {
		return cluster.DefragRequest{}, false
	}
	return in.st.Defrag[i], true
}

func (in input) askedFor(n cluster.NodeName) bool {
	_, asked := in.request(n)
	return asked
}

func (in input) requester(m cluster.Member) string {
	r, _ := in.request(in.name(m))
	return r.By
}

// absentRequests are those for members that do not serve now: they wait, and are
// dropped with the member.
func absentRequests(in input) verdict {
	var v verdict
	for _, r := range in.st.Defrag {
		i := slices.IndexFunc(in.nodes, func(n cluster.Node) bool { return n.Hostname == r.Node })
		var m cluster.Member
		member := false
		if i >= 0 {
			m, member = in.st.Etcd.MemberAt(in.nodes[i])
		}
		switch {
		case !member:
			v.steps = append(v.steps, Step{
				Kind: ForgetDefrag, Nodes: []cluster.NodeName{r.Node}, Reason: "its member was to be defragmented, and it carries none",
			})
		case !m.Healthy:
			v.reasons = append(v.reasons, Reason{
				Level: Waiting, Rule: "defragmentationAwaitsMember", Node: r.Node,
				Text: fmt.Sprintf("%s asked for it to be defragmented; it does not serve now", r.By),
			})
		}
	}
	return v
}

// muchIsFree is the routine's measure.
func (in input) muchIsFree(m cluster.Member) bool {
	d := in.spec.Etcd.Defrag
	free := Free(in.st.Etcd, m)
	return d.IsEnabled() && m.DBSize > 0 && free >= int64(d.MinFree) && float64(free) >= d.FreeRatio.Of(m.DBSize)
}

func (in input) howFree(m cluster.Member) string {
	return fmt.Sprintf("%s of the database's %s are free", roundSize(Free(in.st.Etcd, m)), roundSize(m.DBSize))
}

// forAPerson: no window makes it right to stop a cluster unasked.
func forAPerson(in input, m cluster.Member) Reason {
	return Reason{
		Level: Note, Rule: "defragmentationIsForAPerson", Node: in.name(m),
		Text: fmt.Sprintf("%s; the cluster would stand still for about %s while it is defragmented, so that is done only when asked for", in.howFree(m), short(Stall(in.st.Etcd, m))),
		Hint: "ckecli etcd defrag " + string(in.name(m)),
	}
}
