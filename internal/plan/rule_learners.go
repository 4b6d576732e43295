package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// staysUp is for how long a learner whose process has ended before must run before it
// votes.
const staysUp = 15 * time.Second

// stuckLeast is how long a learner may come no nearer to the end of the log, however
// short replace_after is: one that has ended must stay up meanwhile.
const stuckLeast = 4 * staysUp

const learnerIsCatchingUp = "learnerIsCatchingUp"

// ruleLearners brings each learner to the end of its road: a voter when it has
// caught up, out again when it is not wanted or cannot live. While one is on the
// way nobody else is added.
func ruleLearners(in input) verdict {
	var v verdict
	for _, m := range in.st.Etcd.Learners() {
		n, known := in.nodeOf(m)
		name := in.name(m)
		switch {
		case !known || !in.isWanted(n):
			v.steps = append(v.steps, removeStep(in, m, fmt.Sprintf("learner on %s is not wanted", name)))
		case in.dataLost(m):
			s := removeStep(in, m, fmt.Sprintf("learner on %s has lost its data", name))
			s.DataLost = true
			v.steps = append(v.steps, s)
		case in.drained(name) && !m.Healthy && !in.mayServe(n):
			s := removeStep(in, m, fmt.Sprintf("learner on %s does not serve, and its node is drained", name))
			s.NotServing = true
			v.steps = append(v.steps, s)
		case in.dead(m):
			s := removeStep(in, m, fmt.Sprintf("learner on %s has not served for %s", name, in.spec.Etcd.ReplaceAfter))
			s.NotServing = true
			v.steps = append(v.steps, s)
		case in.stuck(m) && (!in.caughtUp(m, n) || in.mustStayUp(n)):
			s := removeStep(in, m, fmt.Sprintf("learner on %s has come no nearer to the end of the log since %s", name, in.clock(m.BehindSince)))
			v.steps = append(v.steps, s)
		case in.caughtUp(m, n) && in.mustStayUp(n):
			v.reasons = append(v.reasons, in.staysLearner(m, n))
		case InSync(in.st.Etcd, m):
			v.steps = append(v.steps, promoteStep(in, m, name))
		case in.caughtUp(m, n):
			s := promoteStep(in, m, name)
			s.Reason, s.ByHost = "the learner has caught up, and is about to serve", true
			v.steps = append(v.steps, s)
		default:
			v.reasons = append(v.reasons, Reason{Level: Waiting, Rule: learnerIsCatchingUp, Node: name, Text: in.learnerProgress(m, n)})
		}
	}
	return v
}

// stuck: it never catches up, or ends whenever it has. It would bar all others for as
// long as it tries, so another node is tried.
func (in input) stuck(m cluster.Member) bool {
	return !m.BehindSince.IsZero() && in.now.Sub(later(m.BehindSince, in.st.Etcd.QuorumSince)) >= max(in.spec.Etcd.ReplaceAfter.Std(), stuckLeast)
}

// caughtUp: it says so itself or, before it serves anybody, its host does.
func (in input) caughtUp(m cluster.Member, n cluster.Node) bool {
	return InSync(in.st.Etcd, m) || !m.Healthy && JoinedInSync(in.st.Etcd, m, in.node(n.Hostname))
}

// mustStayUp: its process has ended before, and has not run for long since. One that
// ends again and again has caught up whenever it runs; as a voter it would cost the
// others a failure they can bear. A cke that has begun to lead since has seen none of
// that, so its host's word for it counts too.
func (in input) mustStayUp(n cluster.Node) bool {
	ns := in.node(n.Hostname)
	ended := !ns.EndedAt.IsZero() || ns.Unit != nil && ns.Unit.Restarts > 0
	return usable(ns) && ended && (ns.RunsSince.IsZero() || in.now.Sub(ns.RunsSince) < staysUp)
}

func (in input) staysLearner(m cluster.Member, n cluster.Node) Reason {
	ns := in.node(n.Hostname)
	ended := "was started again, as one that had ended"
	if !ns.EndedAt.IsZero() {
		ended = "was seen to have ended at " + in.clock(ns.EndedAt)
	}
	return Reason{
		Level: Waiting, Rule: "learnerMustStayUp", Node: n.Hostname,
		Text: fmt.Sprintf("learner %s has caught up, but %s; it votes once it has run for %s", m.ID, ended, staysUp),
	}
}

// mayServe: a process runs on the node, and may have been started just before it was
// drained. None is started there any more, nor is it given up for dead.
func (in input) mayServe(n cluster.Node) bool {
	ns := in.node(n.Hostname)
	return usable(ns) && ns.Unit != nil && ns.Unit.Running
}

func (in input) learnerProgress(m cluster.Member, n cluster.Node) string {
	ns := in.node(n.Hostname)
	d, _ := ns.Dir(m.ID)
	switch {
	case !m.Healthy && !ns.GrewAt.IsZero() && 0 < d.Bytes && d.Bytes < in.largestDB():
		return fmt.Sprintf("learner %s does not serve yet: it is sent the others' data, and has %s of %s", m.ID, roundSize(d.Bytes), roundSize(in.largestDB()))
	case !m.Healthy:
		return fmt.Sprintf("learner %s does not serve yet: %s", m.ID, orElse(m.Err, "not started"))
	}
	front, _ := in.st.Etcd.Front(time.Time{})
	return fmt.Sprintf("learner %s has applied %d of the leader's %d entries", m.ID, m.RaftApplied, front.Index)
}

func promoteStep(in input, m cluster.Member, name cluster.NodeName) Step {
	voters, healthy := len(in.st.Etcd.Voters()), len(in.st.Etcd.HealthyVoters())
	return Step{
		Kind: PromoteLearner, Nodes: []cluster.NodeName{name}, Member: m.ID, Reason: "the learner has caught up",
		Tolerance: &Tolerance{
			Before: cluster.Tolerance(voters, healthy),
			During: cluster.Tolerance(voters, healthy),
			After:  cluster.Tolerance(voters+1, healthy+1),
		},
	}
}
