package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newPlan(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what cke would do now, and what it holds back",
		Long: `Look at the cluster afresh and print what cke would do now, each step with its
reason, and what it holds back, each with the reason and what you can do. It
changes nothing.

In brackets stands how many voters may fail before, during and after a step.`,
		Example: `  ckecli plan
  ckecli plan --output json | jq '.reasons[] | select(.level == "blocked")'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runPlan(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runPlan(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	p, err := c.Plan(ctx, name)
	if err != nil {
		return err
	}
	return s.print(o, p, p.String)
}
