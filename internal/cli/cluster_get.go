package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

func newClusterGet(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Print what is wanted, as a cluster.yml",
		Long: `Print what is wanted of a cluster, as a cluster.yml that cluster set takes. As
JSON it is the same with its revision: {"revision", "spec"}.`,
		Example: `  ckecli cluster get > cluster.yml
  ckecli cluster get --output json | jq .spec.nodes`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runClusterGet(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runClusterGet(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if o.value == asJSON {
		spec, revision, err := c.Spec(ctx, name)
		if err != nil {
			return err
		}
		return s.printJSON(api.SpecAnswer{Revision: revision, Spec: spec})
	}
	text, err := c.SpecYAML(ctx, name)
	if err != nil {
		return err
	}
	return s.write(string(text))
}
