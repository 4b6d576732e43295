package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
)

func newBundleList(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the Secrets kept in Kubernetes",
		Long: `List the Secrets that cke keeps in Kubernetes for users, and how each of them
is: ok, waiting (for the first attempt), removing, not published (cluster.yml
names no Kubernetes), or the name of what keeps it back.`,
		Example: "  ckecli kubernetes bundle list",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runBundleList(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

// bundleState is a bundle and how its Secret is.
type bundleState struct {
	cluster.Bundle
	State string `json:"state"`
	Text  string `json:"text,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func runBundleList(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	bundles, err := c.Bundles(ctx, name)
	if err != nil {
		return err
	}
	st, err := c.Status(ctx, name)
	if err != nil {
		return err
	}
	states := make([]bundleState, 0, len(bundles))
	for _, b := range bundles {
		states = append(states, stateOf(b, st.Kubernetes))
	}
	return s.print(o, states, func() string { return bundlesText(states) })
}

func stateOf(b cluster.Bundle, k *api.KubernetesStatus) bundleState {
	out := bundleState{Bundle: b}
	var c cluster.Condition
	tried := false
	if k != nil {
		c, tried = conditionOf(k, b)
	}
	if tried && !c.OK {
		out.Text, out.Hint = c.Text, c.Hint
	}
	switch {
	case b.Removing:
		out.State = "removing"
	case k == nil:
		out.State = "not published"
	case !tried:
		out.State = "waiting"
	case c.OK:
		out.State = "ok"
	default:
		out.State = c.Rule
	}
	return out
}

func bundlesText(states []bundleState) string {
	rows := [][]string{{"NAMESPACE", "NAME", "USER", "TTL", "STATE"}}
	for _, b := range states {
		rows = append(rows, []string{b.Namespace, b.Name, b.User, b.TTL.String(), b.State})
	}
	text := table(rows)
	for _, b := range states {
		if b.Text != "" {
			text += wrap(b.Text, b.Key()+": ", "  ")
		}
		if b.Hint != "" {
			text += wrap(b.Hint, "  hint: ", "  ")
		}
	}
	return text
}
