package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newLeader(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "leader",
		Short: "Print which cke acts",
		Long: `Print which cke daemon is the leader, the one that acts: its host, process and
version, since when, where it serves, and the store and epoch it shows to the
hosts. Any of several daemons with one store may be asked. This is cke's own
leader; the leader among the etcd members is in ckecli status.`,
		Example: "  ckecli leader",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runLeader(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runLeader(ctx context.Context, s *session, o *outputFlag) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	l, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	return s.print(o, l, func() string {
		text := fmt.Sprintf("%s (pid %d, cke %s) since %s\nstore %s, epoch %d\n",
			l.Hostname, l.PID, l.Version, l.Since.UTC().Format(time.RFC3339), l.StoreID, l.Epoch)
		if l.Server != "" {
			text += "serves " + l.Server + "\n"
		}
		return text
	})
}
