package plan

import (
	"fmt"
	"strings"

	"cke/internal/cluster"
)

// ruleQuorum ends the list while no linearizable read succeeds: whatever else
// there is to do waits for the members, or for a person.
func ruleQuorum(in input) verdict {
	e := in.st.Etcd
	if e.Quorum {
		return verdict{}
	}
	var facts, ending []string
	away, startable := 0, 0
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		word, kind := memberOnHost(ns)
		if !in.mayVote(n, ns) {
			kind = dataNone
		}
		switch kind {
		case dataAway:
			away++
		case dataThere:
			startable++
			if ends := in.endsLately(n.Hostname); keepsEnding(ns.Unit) && ends >= endsToBlame && !in.underRestart(n.Hostname) && !in.rollsBack(n.Hostname) {
				ending = append(ending, fmt.Sprintf("%s, %d times by now: %s%s", n.Hostname, ends, ns.Unit.Exit, lastWords(ns.Unit)))
			}
		}
		facts = append(facts, string(n.Hostname)+": "+word)
	}
	voters := in.voterCount()
	v := verdict{stop: true}
	switch {
	case startable >= cluster.Quorum(voters) && startable-len(ending) < cluster.Quorum(voters):
		v.reasons = append([]Reason{{
			Level: Blocked, Rule: "membersKeepEnding",
			Text: fmt.Sprintf("%s, a quorum is %d, and members that have their data keep ending: %s", votersInWords(voters), cluster.Quorum(voters), strings.Join(ending, "; ")),
			Hint: "ckecli node logs NODE has all of it. Settings are mended in cluster.yml; of data that is damaged, see " + quorumLossPage,
		}}, in.whichDataIsWhere()...)
	case startable >= cluster.Quorum(voters):
		v.reasons = []Reason{{Level: Waiting, Rule: "membersAreStarting", Text: fmt.Sprintf("no quorum yet (%s): %s", orElse(e.Err, "no leader known"), strings.Join(facts, "; "))}}
	case startable+away >= cluster.Quorum(voters):
		v.reasons = append([]Reason{{
			Level: Blocked, Rule: "quorumIsLost",
			Text: fmt.Sprintf("%s, a quorum is %d, and only %d can run now", votersInWords(voters), cluster.Quorum(voters), startable),
			Hint: "bring the missing hosts or disks back, or make room where there is none; their members then start by themselves. If they are gone for good, see " + quorumLossPage,
		}}, in.whichDataIsWhere()...)
	default:
		v.reasons = append([]Reason{{
			Level: Blocked, Rule: "restoreIsNeeded",
			Text: fmt.Sprintf("%s, a quorum is %d, and at most %d still have their data", votersInWords(voters), cluster.Quorum(voters), startable+away),
			Hint: "the cluster is never founded again by itself; what a person can do with the data that is left, or with a backup: " + quorumLossPage,
		}}, in.whichDataIsWhere()...)
	}
	return v
}

func votersInWords(n int) string {
	if n == 1 {
		return "1 voter"
	}
	return fmt.Sprintf("%d voters", n)
}

// endsLately is how often a member with its settings has ended since it last served for
// long.
func (in input) endsLately(n cluster.NodeName) int {
	ns := in.node(n)
	if ns.Unit == nil {
		return 0
	}
	return ns.Unit.Ends() - ns.EndsBefore
}

// mayVote: where the membership is known, if only as some member remembers it,
// a host counts that carries a voter of it; else every host does.
func (in input) mayVote(n cluster.Node, ns cluster.NodeState) bool {
	if len(in.st.Etcd.Voters()) == 0 {
		return true
	}
	m, ok := in.st.Etcd.MemberAt(n)
	return ok && !m.Learner && (ns.Unit == nil || ns.Unit.Unit.Member == m.ID)
}

type dataIs int

const (
	dataNone dataIs = iota
	dataThere
	dataAway // may come back
	dataGone // proven lost
)

func memberOnHost(ns cluster.NodeState) (string, dataIs) {
	u := ns.Unit
	switch {
	case !ns.Reachable():
		return "host does not answer", dataAway
	case ns.Fenced != "":
		return "host obeys another store", dataAway
	case u == nil && len(ns.Data) > 0:
		return "data of member " + ns.Data[0].Member.String() + " without a unit", dataAway
	case u == nil:
		return "no member", dataNone
	case u.NotMounted != "":
		return "data disk not mounted", dataAway
	case u.DataLost:
		return "data of member " + u.Unit.Member.String() + " lost", dataGone
	case !u.Sealed && !holdsLog(ns, u.Unit.Member):
		return "member " + u.Unit.Member.String() + " without data", dataGone
	case ns.Full():
		return "member " + u.Unit.Member.String() + " stopped, no room on " + ns.Disk.Mount, dataAway
	case u.Running:
		return "member " + u.Unit.Member.String() + " runs", dataThere
	default:
		return "member " + u.Unit.Member.String() + " stopped", dataThere
	}
}

// voterCount is the number of voters last known: from the membership if any
// member told it, else from the units on the hosts and the hosts that cannot be
// asked, else from the founding.
func (in input) voterCount() int {
	if n := len(in.st.Etcd.Voters()); n > 0 {
		return n
	}
	voters := 0
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		if ns.Unit != nil || n.ControlPlane && !usable(ns) {
			voters++
		}
	}
	if voters == 0 {
		return len(in.st.Bootstrap.Founders)
	}
	return voters
}
