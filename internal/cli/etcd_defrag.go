package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

func newDefrag(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "defrag [NODE]",
		Short: "Have members give back what their databases no longer need",
		Long: `Have the member on NODE, or every member that serves, give the free pages of its
database back to the file system. cke does it as soon as every other voter
serves: one member after another, the leader last, once leadership has moved.

A member answers nobody while it is defragmented; for how long that is expected
to be is printed. Of a cluster with one or two voters all stand still meanwhile.
With three or more cke does this by itself (etcd.defrag in cluster.yml).

It returns at once; ckecli status shows how far it is.`,
		Example: `  ckecli etcd defrag
  ckecli etcd defrag cp1`,
		Args:              atMost("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDefrag(cmd.Context(), s, o, strings.Join(args, ""))
		},
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runDefrag(ctx context.Context, s *session, o *outputFlag, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	list, err := c.AskDefrag(ctx, name, node)
	if err != nil {
		return err
	}
	return s.print(o, list, func() string { return defragText(list) })
}

func defragText(list []api.DefragAsked) string {
	rows := [][]string{{"NODE", "DB", "FREE", "ANSWERS NOBODY FOR ABOUT"}}
	still := false
	for _, d := range list {
		rows = append(rows, []string{string(d.Node), bytesText(d.Bytes), bytesText(d.Free), d.Stall.String()})
		still = still || d.Interrupts
	}
	text := table(rows)
	if still {
		text += "the cluster stands still meanwhile\n"
	}
	return text + "asked for; see how far it is with ckecli status\n"
}
