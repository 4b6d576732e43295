package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cke/internal/cluster"
)

func newMembers(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the members as etcd knows them",
		Long: `List the members of the etcd cluster as etcd itself knows them. How they are
doing, and the nodes without a member, is in ckecli status.`,
		Example: "  ckecli etcd members",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMembers(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runMembers(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	list, err := c.Members(ctx, name)
	if err != nil {
		return err
	}
	return s.print(o, list, func() string {
		rows := [][]string{{"ID", "NAME", "ROLE", "HEALTH", "VERSION", "PEER URL"}}
		for _, m := range list {
			memberName := m.Name
			if !m.Started() {
				memberName = "(not started)"
			}
			rows = append(rows, []string{
				m.ID.String(), memberName, roleText(m), healthText(m), orDash(m.Version), m.PeerURL,
			})
		}
		return table(rows)
	})
}

func roleText(m cluster.Member) string {
	switch {
	case m.Learner:
		return "learner"
	case m.Leader:
		return "leader"
	default:
		return "voter"
	}
}

func healthText(m cluster.Member) string {
	if m.Healthy {
		return "ok"
	}
	return "DOWN"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
