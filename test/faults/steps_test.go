package faults

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/faults/history"
)

// voters are who voted, as etcd said: at some time between the question and the answer.
type voters struct {
	asked time.Time
	at    time.Time
	nodes map[cluster.MemberID]string // on which machine
}

// outage is a time in which a machine serves nobody.
type outage struct {
	machine  string
	from, to time.Time
}

const (
	// A machine that is out for less, before a step begins, CKE need not know of.
	noticed = 4 * time.Second
	// Who voted longer ago may have changed.
	fresh = 4 * time.Second
)

// belowQuorum are CKE's steps that left fewer serving voters than a quorum, by
// what the test itself knows: who voted, and what it had broken. It says how many it
// judged of those that take a vote or a voter away, or add one.
func belowQuorum(records []record.Record, seen []voters, outages []outage) (bad []string, judged, of int) {
	for _, rec := range records {
		if rec.Step == nil {
			continue
		}
		if t := rec.Step.Tolerance; t != nil && t.During < 0 {
			bad = append(bad, fmt.Sprintf("CKE itself foresaw less than a quorum: %s", rec))
		}
		does := leaves(*rec.Step)
		if does == nothing || rec.Outcome == record.Failed {
			continue
		}
		of++
		i := lastBefore(seen, rec.At)
		if i < 0 || rec.At.Sub(seen[i].at) > fresh {
			continue
		}
		judged++
		nodes := changed(seen[i], records, rec.At)
		total, serving := len(nodes), 0
		for id, machine := range nodes {
			if id != rec.Step.Member && !out(outages, machine, rec.At) {
				serving++
			}
		}
		switch _, voted := nodes[rec.Step.Member]; {
		case does == comes && !voted:
			total++
			serving++ // it was asked for its log a moment ago
		case does == goes && voted:
			total--
		}
		if serving < total/2+1 {
			bad = append(bad, fmt.Sprintf("%d of %d voters serve after: %s", serving, total, rec))
		}
	}
	return bad, judged, of
}

// changed are who voted at a time, by who did before and what CKE has done since. What
// was under way when they were asked for may be in the answer, and does no harm twice.
func changed(before voters, records []record.Record, at time.Time) map[cluster.MemberID]string {
	nodes := maps.Clone(before.nodes)
	for _, r := range records {
		if r.Step == nil || r.Outcome != record.Done || ended(r).Before(before.asked) || !r.At.Before(at) {
			continue
		}
		switch leaves(*r.Step) {
		case comes:
			nodes[r.Step.Member] = string(r.Step.Nodes[0])
		case goes:
			delete(nodes, r.Step.Member)
		}
	}
	return nodes
}

// ended is when a step was over, rounded up.
func ended(r record.Record) time.Time { return r.At.Add(time.Duration(r.TookMS+1) * time.Millisecond) }

// What a step does to its member's vote.
type effect int

const (
	nothing effect = iota
	goes           // it votes no more
	stops          // it does not serve for a while
	comes          // it votes from now on
)

func leaves(s plan.Step) effect {
	switch s.Kind {
	case plan.RemoveMember:
		return goes
	case plan.RestartMember, plan.RollBackMember, plan.Defragment, plan.StopMember:
		return stops
	case plan.PromoteLearner:
		return comes
	default:
		return nothing
	}
}

func lastBefore(seen []voters, at time.Time) int {
	i := slices.IndexFunc(seen, func(v voters) bool { return v.at.After(at) })
	if i < 0 {
		i = len(seen)
	}
	return i - 1
}

// out says whether a machine had been out long enough to be noticed, and still was.
func out(outages []outage, machine string, at time.Time) bool {
	return slices.ContainsFunc(outages, func(o outage) bool {
		return o.machine == machine && at.Sub(o.from) > noticed && at.Before(o.to)
	})
}

// TestStepsBelowQuorumAreFound tries the check on what CKE must never do.
func TestStepsBelowQuorumAreFound(t *testing.T) {
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	three := []voters{{at(9), at(9), map[cluster.MemberID]string{1: "h1", 2: "h2", 3: "h3"}}}
	four := []voters{{at(9), at(9), map[cluster.MemberID]string{1: "h1", 2: "h2", 3: "h3", 4: "h4"}}}
	remove := record.Record{At: at(10), Outcome: record.Done, Step: &plan.Step{Kind: plan.RemoveMember, Member: 3}}
	promote := record.Record{At: at(10), Outcome: record.Done, Step: &plan.Step{Kind: plan.PromoteLearner, Member: 9}}
	restart := record.Record{At: at(10), Outcome: record.Done, Step: &plan.Step{Kind: plan.RestartMember, Member: 3}}
	learner := record.Record{At: at(10), Outcome: record.Done, Step: &plan.Step{Kind: plan.RemoveMember, Member: 9}}
	foreseen := remove
	foreseen.Step = &plan.Step{Kind: plan.RemoveMember, Member: 3, Tolerance: &plan.Tolerance{During: -1}}
	failed := remove
	failed.Outcome = record.Failed
	down := func(machine string, from, to int) outage { return outage{machine, at(from), at(to)} }
	for name, c := range map[string]struct {
		rec     record.Record
		seen    []voters
		outages []outage
		bad     bool
	}{
		"nothing is broken":                     {remove, three, nil, false},
		"the removed one is the broken one":     {remove, three, []outage{down("h3", 0, 20)}, false},
		"another is broken":                     {remove, three, []outage{down("h1", 0, 20)}, true},
		"another was broken":                    {remove, three, []outage{down("h1", 0, 9)}, false},
		"another is broken since a moment":      {remove, three, []outage{down("h1", 8, 20)}, false},
		"another of four is broken":             {remove, four, []outage{down("h1", 0, 20)}, false},
		"two others of four are broken":         {remove, four, []outage{down("h1", 0, 20), down("h2", 0, 20)}, true},
		"it did not come to it":                 {failed, three, []outage{down("h1", 0, 20)}, false},
		"a fourth voter with one broken":        {promote, three, []outage{down("h1", 0, 20)}, false},
		"a fourth voter with two broken":        {promote, three, []outage{down("h1", 0, 20), down("h2", 0, 20)}, true},
		"a restart":                             {restart, three, nil, false},
		"a restart of the broken one":           {restart, three, []outage{down("h3", 0, 20)}, false},
		"a restart while another is broken":     {restart, three, []outage{down("h1", 0, 20)}, true},
		"a restart of one of four, one broken":  {restart, four, []outage{down("h1", 0, 20)}, true},
		"a learner goes with one broken":        {learner, three, []outage{down("h1", 0, 20)}, false},
		"a learner goes without a quorum":       {learner, three, []outage{down("h1", 0, 20), down("h2", 0, 20)}, true},
		"CKE says so itself":                    {foreseen, three, nil, true},
		"nobody knows who voted":                {remove, nil, []outage{down("h1", 0, 20)}, false},
		"nobody has known for long who voted":   {remove, []voters{{at(2), at(2), three[0].nodes}}, []outage{down("h1", 0, 20)}, false},
		"who votes is known only from later on": {remove, []voters{{at(11), at(11), three[0].nodes}}, []outage{down("h1", 0, 20)}, false},
	} {
		if got, _, _ := belowQuorum([]record.Record{c.rec}, c.seen, c.outages); (len(got) > 0) != c.bad {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWhoVotesChangesBetweenTwoLooks: what CKE did since the last look counts.
func TestWhoVotesChangesBetweenTwoLooks(t *testing.T) {
	t0 := time.Now()
	did := func(after time.Duration, kind plan.Kind, id cluster.MemberID, node cluster.NodeName) record.Record {
		return record.Record{At: t0.Add(after), Outcome: record.Done, Step: &plan.Step{Kind: kind, Member: id, Nodes: []cluster.NodeName{node}}}
	}
	two := []voters{{t0, t0, map[cluster.MemberID]string{1: "h1", 3: "h3"}}}
	three := []voters{{t0, t0, map[cluster.MemberID]string{1: "h1", 2: "h2", 3: "h3"}}}
	defragment := did(2*time.Second, plan.Defragment, 3, "h3")
	begun := did(-time.Second, plan.PromoteLearner, 2, "h2")
	begun.TookMS = 1500
	if bad, _, _ := belowQuorum([]record.Record{begun, defragment}, two, nil); len(bad) > 0 {
		t.Errorf("a third came to vote when it was asked who does: %v", bad)
	}
	begun.TookMS = 500
	if bad, _, _ := belowQuorum([]record.Record{begun, defragment}, two, nil); len(bad) != 1 {
		t.Errorf("a third had come to vote and did no more, and nothing is said of it: %v", bad)
	}
	if bad, _, _ := belowQuorum([]record.Record{did(time.Second, plan.PromoteLearner, 2, "h2"), defragment}, two, nil); len(bad) > 0 {
		t.Errorf("a third has come to vote before: %v", bad)
	}
	if bad, _, _ := belowQuorum([]record.Record{did(time.Second, plan.RemoveMember, 2, "h2"), defragment}, three, nil); len(bad) != 1 {
		t.Errorf("the third votes no more, and nothing is said of it: %v", bad)
	}
}

// TestACompactionIsKnownByItsRecord, and by that of the last where several were folded.
func TestACompactionIsKnownByItsRecord(t *testing.T) {
	compacts := func(revision int64, outcome record.Outcome, repeats int) record.Record {
		return record.Record{Outcome: outcome, Repeats: repeats, Step: &plan.Step{Kind: plan.Compact, Revision: revision}}
	}
	got := compactions([]record.Record{
		compacts(7, record.Done, 0), compacts(8, record.Failed, 0), compacts(20, record.Failed, 2), compacts(30, record.Started, 0),
		{Step: &plan.Step{Kind: plan.Defragment}}, {Action: "defrag h1"},
	})
	want := []history.Gap{{From: 6, To: 7}, {From: 7, To: 8}, {From: 1, To: 20}, {From: 29, To: 30}}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
