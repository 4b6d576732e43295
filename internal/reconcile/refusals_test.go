package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/plan"
	"cke/internal/record"
)

// What a host's guard refuses needs a person from the first time on, on that
// host; another host's failure beside it is told too.
func TestAHostsRefusalIsShownAtOnce(t *testing.T) {
	s := plan.Step{Kind: plan.InstallEtcd, Nodes: []cluster.NodeName{"cp1", "cp2", "cp3"}, Version: "3.7.3"}
	err := errors.Join(
		&execute.NodeError{Node: "cp2", Err: &host.GuardError{Kind: host.NoSpace, Reason: "/opt has 1.0 MiB free, etcd 3.7.3 needs 34.0 MiB"}},
		&execute.NodeError{Node: "cp3", Err: errors.New("put-release: session ended")},
	)
	f, now := newFailures(), time.Now()
	f.fail(s, err, record.Record{}, now)
	runnable, shown := f.holdBack(plan.Plan{Steps: []plan.Step{s}}, now)
	if len(runnable) != 0 || len(shown.Steps) != 0 {
		t.Errorf("to be done: %v, shown: %v", runnable, shown.Steps)
	}
	const want = `- blocked hostRefuses cp2: install-etcd is refused: /opt has 1.0 MiB free, etcd 3.7.3 needs 34.0 MiB
    hint: make room there; it is tried again by itself
- waiting stepFailed cp3: install-etcd failed: put-release: session ended
`
	if got := shown.String(); got != want {
		t.Errorf("shown:\n%s", got)
	}

	// It is tried again, and shown while it is.
	runnable, shown = f.holdBack(plan.Plan{Steps: []plan.Step{s}}, now.Add(retryMin))
	if len(runnable) != 1 || len(shown.Steps) != 1 || !strings.Contains(shown.String(), "hostRefuses") {
		t.Errorf("to be done: %v, shown: %v", runnable, shown)
	}
}

// What a host cannot be asked for stays so until somebody asks for something else.
func TestAnInvalidRequestIsARefusal(t *testing.T) {
	s := plan.Step{Kind: plan.RestartMember, Nodes: []cluster.NodeName{"cp3"}}
	r := refusals(s, &execute.NodeError{Node: "cp3", Err: &host.InvalidError{Reason: "etcd 3.7.3 has no flag --zebra"}})
	const want = `- blocked hostRefuses cp3: restart-member is refused: etcd 3.7.3 has no flag --zebra
    hint: mend it in cluster.yml, then ckecli cluster set
`
	if got := (plan.Plan{Reasons: r}).String(); got != want {
		t.Errorf("shown:\n%s", got)
	}
}

func TestOtherFailuresAreNoRefusals(t *testing.T) {
	s := plan.Step{Kind: plan.StartMembers, Nodes: []cluster.NodeName{"cp1"}}
	for _, err := range []error{
		errors.New("x"),
		errors.Join(&execute.NodeError{Node: "cp1", Err: errors.New("x")}, errors.New("y")),
		&execute.NodeError{Node: "cp1", Err: &host.FencedError{Reason: "x"}},
	} {
		if r := refusals(s, err); r != nil {
			t.Errorf("%v: %v", err, r)
		}
	}
}
