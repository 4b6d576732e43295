package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

type statusOptions struct {
	output *outputFlag
	watch  bool
}

func newStatus(s *session) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a cluster is, and what is wrong with it",
		Long: `Say how a cluster is: whether it is healthy, each node with its member, what cke
is about to do, and what it holds back with the reason and the next command.

The exit code says whether cke answered, not whether the cluster is healthy; a
script asks: ckecli status --output json | jq -e .healthy`,
		Example: `  ckecli status
  ckecli status --watch                 # redrawn at every change; ends with ^C`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), s, o) },
	}
	cmd.Flags().BoolVar(&o.watch, "watch", false, "go on, and show every change")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runStatus(ctx context.Context, s *session, o statusOptions) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if !o.watch {
		st, err := c.Status(ctx, name)
		if err != nil {
			return err
		}
		return s.print(o.output, st, func() string { return statusText(st, s.env.Now()) })
	}
	screen := newScreen(s.env.Stdout)
	err = watchStatus(ctx, s, c, name, func(st api.Status) error {
		if o.output.value == asJSON {
			return s.printLine(st)
		}
		return screen.draw(statusText(st, s.env.Now()))
	})
	if errors.Is(err, context.Canceled) {
		return nil // how watching ends
	}
	return err
}
