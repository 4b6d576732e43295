package app

import (
	"testing"

	"cke/internal/cluster"
	"cke/internal/reconcile"
)

func TestWhomToTell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		phase   cluster.Phase
		deposed bool
		paused  *cluster.Pause
		want    string
	}{
		{"a founded cluster", cluster.PhaseBootstrapped, false, nil, "/k"},
		{"one that is being founded", cluster.PhaseBootstrapping, false, nil, ""},
		{"a paused one", cluster.PhaseBootstrapped, false, &cluster.Pause{}, "/k"},
		{"a deposed cke", cluster.PhaseBootstrapped, true, nil, ""},
		{"a deposed cke, paused", cluster.PhaseBootstrapped, true, &cluster.Pause{}, ""},
	} {
		var v reconcile.View
		v.Wanted.Spec.Kubernetes.Kubeconfig = "/k"
		v.State = cluster.State{Bootstrap: cluster.Bootstrap{Phase: c.phase}, Paused: c.paused}
		if c.deposed {
			v.State.NewerLeader = "a newer leader has acted"
		}
		if got := exportTo(v); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
