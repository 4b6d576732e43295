package drive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// Set puts a cluster.yml and waits until it is settled.
func (in *Installation) Set(yaml string) {
	in.T.Helper()
	in.CLI("cluster", "set", in.Write("cluster.yml", yaml), "--wait")
}

// Status is the cluster's now.
func (in *Installation) Status() api.Status {
	in.T.Helper()
	var s api.Status
	in.Eventually("status", func() (err error) {
		s, err = in.Client().Status(context.Background(), "main")
		return err
	})
	return s
}

// Until waits for a status that satisfies a condition, which says what is missing.
func (in *Installation) Until(what string, holds func(api.Status) error) api.Status {
	in.T.Helper()
	var s api.Status
	in.Eventually(what, func() error {
		s = in.Status()
		if err := holds(s); err != nil {
			return fmt.Errorf("%w; plan:\n%s", err, s.Plan)
		}
		return nil
	})
	return s
}

// Settled waits until CKE has nothing left to do.
func (in *Installation) Settled() api.Status {
	in.T.Helper()
	return in.Until("the cluster settles", func(s api.Status) error {
		if !s.Settled {
			return fmt.Errorf("not settled")
		}
		return nil
	})
}

// Reason waits until the plan gives this reason, for this node or, when it is
// empty, for any.
func (in *Installation) Reason(rule string, node cluster.NodeName) plan.Reason {
	in.T.Helper()
	var found plan.Reason
	in.Until("the plan says "+rule, func(s api.Status) error {
		for _, r := range s.Plan.Reasons {
			if r.Rule == rule && (node == "" || r.Node == node) {
				found = r
				return nil
			}
		}
		return fmt.Errorf("no %s %s", rule, node)
	})
	return found
}

// OnlyMembersAre checks that exactly these nodes carry started voters.
func (in *Installation) OnlyMembersAre(nodes ...cluster.NodeName) {
	in.T.Helper()
	var got []cluster.NodeName
	for _, n := range in.Settled().Nodes {
		if n.Member == nil {
			continue
		}
		if n.Member.Learner || !n.Member.Started() || !n.Member.Healthy {
			in.T.Errorf("member on %s: %+v", n.Hostname, *n.Member)
		}
		got = append(got, n.Hostname)
	}
	slices.Sort(got)
	slices.Sort(nodes)
	if !slices.Equal(got, nodes) {
		in.T.Errorf("members on %v, want %v", got, nodes)
	}
}

// MemberID is the member a node carries. One look may come to nothing.
func (in *Installation) MemberID(node cluster.NodeName) cluster.MemberID {
	in.T.Helper()
	var id cluster.MemberID
	in.Until(string(node)+" carries a member", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Hostname == node && n.Member != nil {
				id = n.Member.ID
				return nil
			}
		}
		return errors.New("it carries none")
	})
	return id
}

// History is everything that was done, oldest first.
func (in *Installation) History() []record.Record {
	in.T.Helper()
	h, err := in.Client().History(context.Background(), "main", 1000)
	if err != nil {
		in.T.Fatal(err)
	}
	return h
}

// CountSteps counts the steps of a kind that were done.
func (in *Installation) CountSteps(k plan.Kind) int {
	in.T.Helper()
	n := 0
	for _, r := range in.History() {
		if r.Step != nil && r.Step.Kind == k && r.Error == "" {
			n++
		}
	}
	return n
}

// NeverBelowQuorum checks the tolerance CKE itself foresaw for every step.
func (in *Installation) NeverBelowQuorum() {
	in.T.Helper()
	for _, r := range in.History() {
		if r.Step != nil && r.Step.Tolerance != nil && r.Step.Tolerance.During < 0 {
			in.T.Errorf("a step below quorum: %s", r)
		}
	}
}
