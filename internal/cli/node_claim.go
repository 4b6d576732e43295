package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newNodeClaim(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "claim NODE",
		Short: "Take a machine over from another cke",
		Long: `Make a machine obey this cke, though it belongs to another cke's store. Do it
only when that other one is gone for good: two that act on one machine would
work against each other. It changes neither the member nor its data.`,
		Example: "  ckecli node claim cp1",
		Args:    exactly("NODE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return runNodeClaim(cmd.Context(), s, o, args[0]) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeClaim(ctx context.Context, s *session, o *outputFlag, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.Claim(ctx, name, node); err != nil {
		return err
	}
	return s.print(o, map[string]string{"cluster": name, "claimed": node}, func() string {
		return fmt.Sprintf("node %s belongs to this cke now\n", node)
	})
}
