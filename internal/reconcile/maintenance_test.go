package reconcile

import (
	"log/slog"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/plan"
)

// executor carries out steps in the world, with no loop around it.
func (w *world) executor(t *testing.T) *execute.Executor {
	log := slog.New(slog.DiscardHandler)
	observer := observe.New(observe.Options{
		Hosts: w, Etcd: fakeEtcd{w}, Authority: w.authority, Identity: func() host.Identity { return host.Identity{} }, Now: time.Now, Log: log,
		Published: w.published,
	})
	t.Cleanup(observer.Close)
	observer.Observe(t.Context(), w.wanted.Wanted) // as the loop has, before it decides
	return execute.New(execute.Options{
		Cluster: "main", Store: fakeStore{w}, Hosts: w, Etcd: fakeEtcd{w}, Observer: observer, Authority: w.authority, Now: time.Now, Log: log,
	})
}

// A reboot that was cancelled after the step was decided does not happen.
func TestACancelledRebootDoesNotHappen(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		w := newWorld(t, 3, 3)
		w.hosts["n1"].facts.Boot = "b1"
		r := cluster.Reboot{Nodes: []cluster.NodeName{"n1"}, By: "ada", At: time.Now()}
		w.wanted.Reboot = &r
		decided := w.wanted.Wanted
		if cancelled {
			w.wanted.Reboot = nil
		}
		to := r
		to.Boot = "b1"
		step := plan.Step{Kind: plan.RebootMachine, Nodes: []cluster.NodeName{"n1"}, Reboot: &to}
		if err := w.executor(t).Run(t.Context(), decided, step, func(cluster.NodeName) {}); err != nil {
			t.Fatal(err)
		}
		if got := w.calls("n1", "reboot") == 1; got == cancelled {
			t.Errorf("cancelled %v, and rebooted %v", cancelled, got)
		}
	}
}

// A drain that a person recorded after the step was decided is not replaced by that
// for a reboot.
func TestAPersonsDrainIsNotReplaced(t *testing.T) {
	w := newWorld(t, 3, 3)
	decided := w.wanted.Wanted
	persons := cluster.Drain{Node: "n1", By: "bob", At: time.Now()}
	w.wanted.Drains = []cluster.Drain{persons}
	for _, d := range []cluster.Drain{
		{Node: "n1", By: "ada", At: persons.At, Reboot: true},
		{Node: "n1", By: "ada", At: persons.At, Reboot: true, Ended: persons.At},
	} {
		step := plan.Step{Kind: plan.DrainNode, Nodes: []cluster.NodeName{"n1"}, Drain: &d}
		if err := w.executor(t).Run(t.Context(), decided, step, func(cluster.NodeName) {}); err != nil {
			t.Fatal(err)
		}
		if got := w.wanted.Drains; len(got) != 1 || got[0] != persons {
			t.Errorf("drains %+v", got)
		}
	}
}
