package etcd

import (
	"context"
	"fmt"
	"strings"
)

// split names the members that lead at the same time, each with a quorum of its
// own; empty when there are no two. It is what becomes of a cluster when a member
// was made one of its own by hand and the others, which knew nothing of it, come
// back where they do not reach it: two clusters with one id.
func (c *Client) split(ctx context.Context, answers []answer) string {
	leaders := leading(answers)
	if len(leaders) < 2 {
		return ""
	}
	// Leadership may have moved from one answer to the other. Whoever lost it
	// serves no linearizable read any more, so that a second time tells.
	eps := make([]Endpoint, len(leaders))
	for i, a := range leaders {
		eps[i] = a.endpoint
	}
	if leaders = leading(c.askAll(ctx, eps)); len(leaders) < 2 {
		return ""
	}
	said := make([]string, len(leaders))
	for i, a := range leaders {
		said[i] = fmt.Sprintf("%s leads in term %d", a.endpoint, a.status.RaftTerm)
	}
	return "the cluster is split into several that all serve: " + strings.Join(said, ", ")
}

// leading are the voters that lead and served a linearizable read.
func leading(answers []answer) []answer {
	var out []answer
	for _, a := range answers {
		if a.healthy() && !a.status.IsLearner && a.status.Leader == a.status.Header.MemberId {
			out = append(out, a)
		}
	}
	return out
}
