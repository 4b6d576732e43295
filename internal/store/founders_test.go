package store

import (
	"errors"
	"testing"

	"cke/internal/cluster"
)

// TestFoundersMustBeInTheSpec: an edit between deciding on the founders and
// recording them must not leave founders that no spec knows.
func TestFoundersMustBeInTheSpec(t *testing.T) {
	s := open(t, testOptions(t))
	put(t, s, spec("main", 1))
	had := spec("main", 1).Nodes[0]
	had.Hostname = "gone"
	err := s.AdvanceBootstrap(t.Context(), "main", cluster.PhaseNew, cluster.Bootstrap{
		Phase: cluster.PhaseBootstrapping, Token: "t", Founders: []cluster.Founder{{Node: had, Member: 1}},
	})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("a founder that is in no spec: %v", err)
	}
	if b, err := s.Bootstrap(t.Context(), "main"); err != nil || b.Phase != cluster.PhaseNew {
		t.Errorf("it was recorded: %+v, %v", b, err)
	}
}
