package api

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
)

// maintained is a backend that notes what it is asked.
type maintained struct {
	asked
	got *[]any
}

func (m maintained) DrainNode(_ context.Context, c, node string, r DrainRequest) (DrainAnswer, error) {
	*m.got = append(*m.got, c, node, r)
	return DrainAnswer{Node: "cp1"}, nil
}

func (m maintained) UndrainNode(_ context.Context, c, node string) (DrainAnswer, error) {
	*m.got = append(*m.got, c, node)
	return DrainAnswer{}, Refused("not now", "later")
}

func (m maintained) RebootNodes(_ context.Context, c string, r RebootRequest) (cluster.Reboot, error) {
	*m.got = append(*m.got, c, r)
	return cluster.Reboot{Nodes: []cluster.NodeName{"cp1"}, By: "ada"}, nil
}

func (m maintained) CancelReboot(_ context.Context, c string) error {
	*m.got = append(*m.got, c)
	return nil
}

// TestMaintenance: what the client is asked for arrives as it is, and comes back.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	var got []any
	_, client := serve(t, maintained{got: &got})
	ctx := t.Context()
	drain := DrainRequest{Why: "a fan", Interrupt: true}
	if a, err := client.DrainNode(ctx, "a/b", "c d", drain); err != nil || a.Node != "cp1" {
		t.Error(a, err)
	}
	if _, err := client.UndrainNode(ctx, "main", "cp1"); err == nil || err.Error() != "not now" {
		t.Error(err)
	}
	reboot := RebootRequest{Nodes: []string{"cp1", "10.0.0.2"}, Why: "new kernel"}
	if r, err := client.RebootNodes(ctx, "main", reboot); err != nil || r.By != "ada" || len(r.Nodes) != 1 {
		t.Error(r, err)
	}
	if err := client.CancelReboot(ctx, "main"); err != nil {
		t.Error(err)
	}
	want := []any{"a/b", "c d", drain, "main", "cp1", "main", reboot, "main"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAReasonOfSeveralLinesIsRefused: nobody writes on the terminal of whoever reads
// why, whatever client he has.
func TestAReasonOfSeveralLinesIsRefused(t *testing.T) {
	t.Parallel()
	var got []any
	_, client := serve(t, maintained{got: &got})
	ctx := t.Context()
	const why = "new fan\n- blocked quorumIsLost: all is lost"
	_, drain := client.DrainNode(ctx, "main", "cp1", DrainRequest{Why: why})
	_, reboot := client.RebootNodes(ctx, "main", RebootRequest{Nodes: []string{"cp1"}, Why: why})
	for what, err := range map[string]error{"pause": client.Pause(ctx, "main", why), "drain": drain, "reboot": reboot} {
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInvalid || e.Message != "why: character 8 begins a new line" || e.Hint == "" {
			t.Errorf("%s: %#v", what, err)
		}
	}
	if len(got) > 0 {
		t.Errorf("the backend was asked: %v", got)
	}
}
