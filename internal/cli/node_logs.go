package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/cluster"
)

type logsOptions struct {
	n      positiveInt
	follow bool
}

func newNodeLogs(s *session) *cobra.Command {
	o := logsOptions{n: 50}
	cmd := &cobra.Command{
		Use:   "logs NODE",
		Short: "Print what etcd wrote on a machine",
		Long: `Print the last lines of what the member on a machine wrote: from the journal, or
etcd's own log file where there is no systemd. It works for a node that is
leaving, too.`,
		Example: `  ckecli node logs cp1
  ckecli node logs cp1 -n 500
  ckecli node logs cp1 -f      # and what it writes from now on; ends with ^C`,
		Args: exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runNodeLogs(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().VarP(&o.n, "lines", "n", "how many of the last lines")
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with what it writes")
	return cmd
}

func runNodeLogs(ctx context.Context, s *session, o logsOptions, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	text, err := c.Logs(ctx, name, node, int(o.n), o.follow)
	if err != nil {
		return err
	}
	defer func() { _ = text.Close() }() // nothing was written
	err = copyPlain(s.env.Stdout, text)
	if o.follow && errors.Is(err, context.Canceled) {
		return nil // how following ends
	}
	return err
}

// copyPlain writes what comes as soon as it does, without what would do more to
// a terminal than show text: it is a member's to write.
func copyPlain(w io.Writer, r io.Reader) error {
	in := bufio.NewReader(r)
	var out strings.Builder
	for {
		c, _, err := in.ReadRune()
		if err == nil {
			out.WriteRune(c)
			if in.Buffered() > 0 && out.Len() < 32<<10 {
				continue
			}
		}
		if _, werr := io.WriteString(w, cluster.Plain(out.String())); werr != nil {
			return fmt.Errorf("write output: %w", werr)
		}
		out.Reset()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
