package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newResume(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:     "resume",
		Short:   "Let the steps of a paused cluster go on",
		Long:    "Let cke act on a cluster again after ckecli pause.",
		Example: "  ckecli resume",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runResume(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runResume(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.Resume(ctx, name); err != nil {
		return err
	}
	return s.print(o, pauseResult{name, false}, func() string {
		return fmt.Sprintf("cluster %s goes on\n", name)
	})
}
