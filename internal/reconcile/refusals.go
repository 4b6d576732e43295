package reconcile

import (
	"errors"
	"fmt"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/plan"
)

// refusals says what the hosts themselves have against a step, each as soon as it
// is said: trying again changes nothing until the host's state or what is asked of
// it does. Empty when no host refused; the other nodes' failures are told beside
// them.
func refusals(s plan.Step, err error) []plan.Reason {
	var out []plan.Reason
	refused := false
	for _, f := range eachFailure(s, err) {
		r := plan.Reason{Level: plan.Waiting, Rule: "stepFailed", Node: f.Node, Text: fmt.Sprintf("%s failed: %s", s.Kind, f.Err)}
		if reason, hint := refusal(f.Err); reason != "" {
			refused = true
			r.Level, r.Rule = plan.Blocked, "hostRefuses"
			r.Text, r.Hint = fmt.Sprintf("%s is refused: %s", s.Kind, reason), hint
		}
		out = append(out, r)
	}
	if !refused {
		return nil
	}
	return out
}

// refusal is what a host says it will not do, and what a person can do about it:
// its guard's word, or that it cannot be asked for such a thing, as for a flag that
// its etcd does not have.
func refusal(err error) (reason, hint string) {
	var guard *host.GuardError
	if errors.As(err, &guard) {
		return guard.Reason, refusalHint(guard.Kind)
	}
	var invalid *host.InvalidError
	if errors.As(err, &invalid) {
		return invalid.Reason, "mend it in cluster.yml, then ckecli cluster set"
	}
	return "", ""
}

func refusalHint(k host.GuardKind) string {
	switch k {
	case host.NoSpace:
		return "make room there; it is tried again by itself"
	case host.ReadOnly:
		return "make it writable; it is tried again by itself"
	case host.DiskFails:
		return "look at the kernel's log there; a member whose disk is gone for good is rebuilt on another"
	case host.NoVersion, host.OtherArch:
		return "put the right binary into the releases directory of cke"
	default:
		return "it is tried again at growing intervals; ckecli history tells more"
	}
}

// eachFailure takes a step's error apart, by node.
func eachFailure(s plan.Step, err error) []*execute.NodeError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*execute.NodeError
		for _, e := range joined.Unwrap() {
			out = append(out, eachFailure(s, e)...)
		}
		return out
	}
	var n *execute.NodeError
	if errors.As(err, &n) {
		return []*execute.NodeError{n}
	}
	var node cluster.NodeName
	if len(s.Nodes) > 0 {
		node = s.Nodes[0]
	}
	return []*execute.NodeError{{Node: node, Err: err}}
}
