package plan

import (
	"fmt"
	"slices"

	"cke/internal/cluster"
)

// ruleMembership brings the voters to the wanted nodes, one change at a time and
// never below the wanted number: a new voter is promoted before an old one goes.
func ruleMembership(in input) verdict {
	e := in.st.Etcd
	if len(e.Learners()) > 0 {
		return verdict{}
	}
	if v := strangers(in); len(v.reasons) > 0 {
		return v
	}
	var surplus []cluster.Member
	for _, m := range e.Voters() {
		if n, ok := in.nodeOf(m); !ok || !in.isWanted(n) {
			surplus = append(surplus, m)
		}
	}
	var missing []cluster.Node
	for _, n := range in.wanted {
		if _, ok := e.MemberAt(n); !ok {
			missing = append(missing, n)
		}
	}
	for _, m := range surplus {
		if !m.Healthy {
			// A voter that does not serve makes etcd refuse every addition.
			return replaceDead(in, m, missing)
		}
	}
	if len(missing) > 0 && len(e.Voters()) <= len(in.wanted) {
		return add(in, missing)
	}
	if len(surplus) > 0 {
		m := leaderLast(surplus)
		if v := unhealthyVoters(in); len(v.reasons) > 0 {
			v.reasons = append(v.reasons, Reason{
				Level: Waiting, Rule: "everyOtherVoterMustServe", Node: in.name(m),
				Text: fmt.Sprintf("member on %s is not wanted any more, and goes once every other voter serves", in.name(m)),
			})
			return v
		}
		if r, ok := in.awaitsUndrain(m); ok {
			return verdict{reasons: []Reason{r}}
		}
		return in.sendOff(m, fmt.Sprintf("member on %s is not wanted any more", in.name(m)))
	}
	return unhealthyVoters(in)
}

// awaitsUndrain: with another voter stopped for maintenance each that leaves brings the
// rest closer to losing their quorum, so that waits. For one that is not stopped yet, as
// it cannot be spared, nobody waits.
func (in input) awaitsUndrain(m cluster.Member) (Reason, bool) {
	d, drained := in.drainedVoter()
	if o, _ := in.st.Etcd.MemberAt(in.nodeNamed(d.Node)); !drained || o.Healthy || o.ID == m.ID {
		return Reason{}, false
	}
	return Reason{
		Level: Waiting, Rule: "everyOtherVoterMustServe", Node: in.name(m),
		Text: fmt.Sprintf("member on %s is not wanted any more, and goes once that on %s runs again, which is drained", in.name(m), d.Node),
		Hint: howToUndrain(d),
	}, true
}

// strangers are voters on a node CKE does not know, as after a restore of an
// older state. Who put them there had a reason; only one that has not served for
// replace_after is taken for dead.
func strangers(in input) verdict {
	var v verdict
	for _, m := range in.st.Etcd.Voters() {
		if _, known := in.nodeOf(m); known || in.dead(m) {
			continue
		}
		v.reasons = append(v.reasons, Reason{
			Level: Blocked, Rule: "memberIsUnknown",
			Text: fmt.Sprintf("voter %s (%s) is at %s, which is no node of the spec", m.ID, m.Name, m.PeerURL),
			Hint: "add its node to cluster.yml; to be rid of it, take the node out again afterwards",
		})
	}
	return v
}

func leaderLast(ms []cluster.Member) cluster.Member {
	for _, m := range ms {
		if !m.Leader {
			return m
		}
	}
	return ms[0]
}

// add picks the first missing node that is fit to take a learner now. A node that
// cannot does not hold the others up.
func add(in input, missing []cluster.Node) verdict {
	e := in.st.Etcd
	for _, m := range e.Voters() {
		if !m.Healthy {
			v := unhealthyVoters(in)
			v.reasons = append(v.reasons, Reason{
				Level: Waiting, Rule: "everyVoterMustServe", Node: missing[0].Hostname,
				Text: fmt.Sprintf("a member is added only while every voter serves; %s does not", in.name(m)),
			})
			return v
		}
	}
	if e.Downgrade != "" {
		// A member without data refuses the cluster's version, or fails on it, until the
		// last one went down (etcdserver/cluster_util.go, allowedVersionRange).
		return verdict{reasons: []Reason{{
			Level: Waiting, Rule: "etcdTakesInNobody", Node: missing[0].Hostname,
			Text: fmt.Sprintf("a member is added once etcd does not prepare to go down to %s any more: it takes in nobody meanwhile", e.Downgrade),
		}}}
	}
	fit, v := in.ready(missing)
	rivals := in.unmeasuredRivals(missing)
	if v.steps = joinChecks(v.steps, rivals); len(rivals) > 0 {
		return v // the seat may be another's
	}
	if len(fit) == 0 {
		return v
	}
	t := cluster.Tolerance(len(e.Voters()), len(e.HealthyVoters()))
	v.steps = append(v.steps, Step{
		Kind: AddLearner, Nodes: []cluster.NodeName{fit[0].Hostname},
		Reason:    fmt.Sprintf("%d of %d wanted nodes carry a member", len(in.wanted)-len(missing), len(in.wanted)),
		Tolerance: &Tolerance{Before: t, During: t, After: t},
	})
	return v
}

// replaceDead takes out a voter that does not serve and is not wanted any more. Its
// removal brings nobody closer to losing quorum, nor further from it, so it waits
// until one who comes in its place is ready: the cluster is short of a voter no
// longer than that one needs to catch up.
func replaceDead(in input, m cluster.Member, missing []cluster.Node) verdict {
	why := fmt.Sprintf("member on %s is not wanted any more and does not serve", in.name(m))
	fit, v := in.ready(missing)
	awaited := slices.ContainsFunc(missing, func(n cluster.Node) bool { return in.node(n.Hostname).Awaited })
	if len(fit) == 0 && (awaited || len(v.steps) > 0) && removalUnsafe(in.st.Etcd, m) == "" {
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "successorIsMadeReady", Node: in.name(m),
			Text: why + ", and goes once a node is ready to take its place",
		})
		return v
	}
	return v.and(takeOut(in, m, why))
}

// unhealthyVoters tells of voters that do not serve while their process runs or
// their host is away; ruleStart and ruleHosts speak of the rest.
func unhealthyVoters(in input) verdict {
	var v verdict
	for _, m := range in.st.Etcd.Voters() {
		if m.Healthy || in.drained(in.name(m)) {
			continue
		}
		if in.takesPart(m) {
			v.reasons = append(v.reasons, in.doesNotAnswer(m))
			continue
		}
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "memberDoesNotServe", Node: in.name(m),
			Text: fmt.Sprintf("member %s does not serve: %s", m.ID, orElse(m.Err, "no leader known")),
		})
	}
	return v
}
