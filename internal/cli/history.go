package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/record"
)

type historyOptions struct {
	output *outputFlag
	n      positiveInt
	follow bool
}

func newHistory(s *session) *cobra.Command {
	o := historyOptions{n: 20}
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Print what was done, by whom, why and how it ended",
		Long: `Print the newest records of what was done to the cluster, oldest first: by a
rule of cke's or by a person, why, and how it ended. As JSON it is a list; with
--follow one record per line.`,
		Example: `  ckecli history
  ckecli history -n 100
  ckecli history -f                # and what happens from now on; ends with ^C`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runHistory(cmd.Context(), s, o) },
	}
	cmd.Flags().VarP(&o.n, "lines", "n", "how many of the newest records")
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with each new record")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runHistory(ctx context.Context, s *session, o historyOptions) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if o.follow {
		err := c.FollowHistory(ctx, name, int(o.n), func(r record.Record) error {
			if o.output.value == asJSON {
				return s.printLine(r)
			}
			return s.say(r.String() + "\n")
		})
		if errors.Is(err, context.Canceled) {
			return nil // how following ends
		}
		return err
	}
	list, err := c.History(ctx, name, int(o.n))
	if err != nil {
		return err
	}
	return s.print(o.output, list, func() string {
		var b strings.Builder
		for _, r := range list {
			b.WriteString(r.String() + "\n")
		}
		return b.String()
	})
}
