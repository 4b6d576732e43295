package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
)

func newClusterList(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List all clusters",
		Long:    "List all clusters cke looks after, one per line.",
		Example: "  ckecli cluster list",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runClusterList(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runClusterList(ctx context.Context, s *session, o *outputFlag) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := c.Clusters(ctx)
	if err != nil {
		return err
	}
	return s.print(o, list, func() string { return clustersText(list) })
}

func clustersText(list []api.ClusterSummary) string {
	if len(list) == 0 {
		return "no cluster yet\n"
	}
	rows := [][]string{{"NAME", "PHASE", "HEALTHY", "VOTERS", "NODES"}}
	for _, l := range list {
		rows = append(rows, []string{
			l.Name, phaseText(l.Phase), yesNo(l.Healthy), strconv.Itoa(l.Voters), strconv.Itoa(l.Nodes),
		})
	}
	return table(rows)
}

func phaseText(p cluster.Phase) string {
	if p == cluster.PhaseNew {
		return "new"
	}
	return string(p)
}
