package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type pauseOptions struct {
	output *outputFlag
	why    whyFlag
}

// pauseResult is the JSON of pause and resume.
type pauseResult struct {
	Cluster string `json:"cluster"`
	Paused  bool   `json:"paused"`
}

func newPause(s *session) *cobra.Command {
	var o pauseOptions
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Hold back all steps of a cluster",
		Long: `Hold back everything cke would do to a cluster, until ckecli resume. The members
keep running; cke keeps watching, and ckecli plan shows what it would do.`,
		Example: `  ckecli pause --why "switch upgrade, ask Ada"
  ckecli resume`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runPause(cmd.Context(), s, o) },
	}
	addWhy(cmd.Flags(), &o.why)
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runPause(ctx context.Context, s *session, o pauseOptions) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.Pause(ctx, name, string(o.why)); err != nil {
		return err
	}
	return s.print(o.output, pauseResult{name, true}, func() string {
		return fmt.Sprintf("cluster %s is paused; go on with ckecli resume\n", name)
	})
}
