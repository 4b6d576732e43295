package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type cleanOptions struct {
	output *outputFlag
	forget bool
}

func newNodeClean(s *session) *cobra.Command {
	var o cleanOptions
	cmd := &cobra.Command{
		Use:   "clean NODE",
		Short: "Remove everything cke put on a machine without a member",
		Long: `Remove everything cke put on a machine that carries no member any more: data
that was set aside, certificates, binaries and helper, and what the machine
remembers. After that cke forgets a node that left the spec, with all it took to
reach it. It is refused while a member or its data is there, and while the
cluster has no quorum: set-aside data may then be the last copy.

NODE is a hostname, or the address where several had that name.`,
		Example: `  ckecli node clean cp4
  ckecli node clean cp4 --forget        # its machine is gone for good`,
		Args: exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runNodeClean(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().BoolVar(&o.forget, "forget", false, "touch no machine; only drop the record of a node that has left")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeClean(ctx context.Context, s *session, o cleanOptions, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.CleanNode(ctx, name, node, o.forget); err != nil {
		return err
	}
	did, text := "cleaned", "node %s is clean: nothing of cke is left on it\n"
	if o.forget {
		did, text = "forgotten", "node %s is forgotten\n"
	}
	return s.print(o.output, map[string]string{"cluster": name, did: node}, func() string { return fmt.Sprintf(text, node) })
}
