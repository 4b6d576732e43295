package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
)

func newNodeList(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the machines",
		Long: `List the machines of a cluster: whether cke reaches them and how, and whether
they may carry (control plane) or do carry a member. Nodes that have left the
spec are listed until they are cleaned.`,
		Example: "  ckecli node list",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runNodeList(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeList(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	st, err := c.Status(ctx, name)
	if err != nil {
		return err
	}
	nodes := slices.Concat(st.Nodes, st.Left)
	return s.print(o, nodes, func() string { return nodesText(nodes, st.Drains) })
}

func nodesText(nodes []api.NodeStatus, drains []cluster.Drain) string {
	rows := [][]string{{"NODE", "ADDRESS", "CONTROL PLANE", "REACHED BY", "STATE", "MEMBER"}}
	for _, n := range nodes {
		state, member := "ok", "-"
		switch {
		case n.Left:
			state = "left"
		case !n.Reachable:
			state = unreached(n.Trouble)
		case n.Leaving:
			state = "leaving"
		case slices.ContainsFunc(drains, func(d cluster.Drain) bool { return d.Node == n.Hostname && !d.Over() }):
			state = "drained"
		}
		if n.Member != nil {
			member = n.Member.ID.String()
		}
		rows = append(rows, []string{
			string(n.Hostname), n.Address, yesNo(n.ControlPlane), reachedBy(n), state, member,
		})
	}
	text := table(rows)
	for _, n := range nodes {
		if n.Error != "" {
			text += wrap(n.Error, string(n.Hostname)+": ", "  ")
		}
		if n.Hint != "" {
			text += wrap(n.Hint, "  hint: ", "  ")
		}
		if n.Leaving && !n.Reachable && n.Member == nil {
			text += wrap("it is out of cluster.yml; if its machine is gone for good:\n  ckecli node clean "+string(n.Hostname)+" --forget", "  hint: ", "  ")
		}
		if n.Left {
			text += wrap("what cke put there is still there; ckecli node clean "+string(n.Hostname)+" removes it", string(n.Hostname)+": ", "  ")
		}
	}
	return text
}

func reachedBy(n api.NodeStatus) string {
	if n.Login != "" {
		return n.Login
	}
	return n.Transport
}

// unreached is why a machine cannot be asked, in two or three words.
func unreached(t cluster.Trouble) string {
	switch t {
	case cluster.HostKeyUnknown:
		return "HOST KEY UNKNOWN"
	case cluster.HostKeyChanged:
		return "HOST KEY CHANGED"
	case cluster.LoginRefused:
		return "LOGIN REFUSED"
	case cluster.HelperMissing:
		return "HELPER MISSING"
	case cluster.HelperVersion:
		return "HELPER VERSION"
	default:
		return "UNREACHABLE"
	}
}
