package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/faults/schedule"
	"cke/test/lab"
)

// settled waits until the cluster is as the spec wants it.
func (r *run) settled() {
	r.t.Helper()
	since := time.Now()
	r.until("the cluster settles", r.nodes, func(s api.Status, want []cluster.NodeName) error {
		if s.ObservedAt.Before(since) {
			return fmt.Errorf("what is known is from %s before", since.Sub(s.ObservedAt))
		}
		if !s.Settled || !s.Healthy {
			return fmt.Errorf("settled %v, healthy %v, running %v\n%s", s.Settled, s.Healthy, s.Running, s.Plan)
		}
		if s.Reboot != nil || len(s.Drains) > 0 {
			return fmt.Errorf("maintenance goes on: %v %v\n%s", s.Reboot, s.Drains, s.Plan)
		}
		return membersAre(s, want)
	})
}

func (r *run) until(what string, nodes []int, holds func(s api.Status, want []cluster.NodeName) error) {
	r.t.Helper()
	var want []cluster.NodeName
	for _, i := range nodes {
		want = append(want, cluster.NodeName(r.lab.Machine(i).Name()))
	}
	r.in.Within(settling, what, func() error {
		s, err := r.in.Client().Status(context.Background(), "main")
		if err != nil {
			return err
		}
		return holds(s, want)
	})
}

// membersAre checks that exactly these nodes carry members, and that they serve.
func membersAre(s api.Status, want []cluster.NodeName) error {
	var got []cluster.NodeName
	for _, n := range s.Nodes {
		if n.Member == nil {
			continue
		}
		if n.Member.Learner || !n.Member.Started() || !n.Member.Healthy {
			return fmt.Errorf("%s: %+v\n%s", n.Hostname, *n.Member, s.Plan)
		}
		got = append(got, n.Hostname)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("members on %v, want %v\n%s", got, want, s.Plan)
	}
	return nil
}

// ids are the members by node.
func (r *run) ids() map[cluster.NodeName]cluster.MemberID {
	r.t.Helper()
	ids := map[cluster.NodeName]cluster.MemberID{}
	for _, n := range r.in.Status().Nodes {
		if n.Member != nil {
			ids[n.Hostname] = n.Member.ID
		}
	}
	return ids
}

// untouched checks that a node that stays has the member it had, unless its data
// is gone.
func (r *run) untouched(round schedule.Round, victim *lab.Machine, before map[cluster.NodeName]cluster.MemberID) {
	r.t.Helper()
	for node, id := range r.ids() {
		was, stayed := before[node]
		lost := string(node) == victim.Name() && (round.Fault == schedule.NewDisk || r.changed > 0)
		switch {
		case lost && id == was:
			r.t.Errorf("%s: %s has the member it had, and its data is gone or another", round, node)
		case stayed && !lost && id != was:
			r.t.Errorf("%s: %s has another member, %s in place of %s", round, node, id, was)
		}
	}
}

// collect keeps the history of CKE's, which is long.
func (r *run) collect() {
	r.t.Helper()
	r.in.Eventually("history", func() error {
		records, err := r.in.Client().History(context.Background(), "main", 1000)
		for _, rec := range records {
			r.records[rec.Seq] = rec
		}
		return err
	})
}

// disarmed checks that CKE healed what writes were refused for.
func (r *run) disarmed(round schedule.Round, since time.Time) {
	r.t.Helper()
	var want []plan.Kind
	switch {
	case round.Fault == schedule.NoSpace || round.Fault == schedule.Overfull:
		want = []plan.Kind{plan.Compact, plan.Defragment, plan.DisarmAlarm}
	case round.Fault == schedule.CorruptLate && r.alarmed: // not one that an operation had taken out before
		want = []plan.Kind{plan.RemoveMember, plan.DisarmAlarm}
	default:
		return
	}
	done := map[plan.Kind]bool{}
	for _, rec := range r.records {
		if rec.Step != nil && rec.At.After(since) && rec.Outcome != record.Failed { // one that a kill cut short is done all the same
			done[rec.Step.Kind] = true
		}
	}
	for _, k := range want {
		if !done[k] {
			r.t.Errorf("%s: nothing was done of %s", round, k)
		}
	}
}

// reboots is how many are over, or about to be: of a daemon that is killed between the
// effect and the end of its record it stays written that it has begun.
func (r *run) reboots() int {
	n := 0
	for _, rec := range r.records {
		if rec.Step != nil && rec.Step.Kind == plan.FinishReboot && rec.Outcome != record.Failed {
			n++
		}
	}
	return n
}
