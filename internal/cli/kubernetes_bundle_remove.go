package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newBundleRemove(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "remove NAMESPACE/NAME",
		Short: "Remove a Secret from Kubernetes",
		Long: `Remove a Secret that cke keeps in Kubernetes. It goes as soon as Kubernetes can
be told; until then the bundle is listed as removing. The user keeps its access,
and so does whoever has copied the certificate, until that expires; to take it
away: ckecli etcd user-remove USER`,
		Example:           "  ckecli kubernetes bundle remove shop/etcd-app",
		Args:              exactly("NAMESPACE/NAME"),
		ValidArgsFunction: s.completeBundles,
		RunE:              func(cmd *cobra.Command, args []string) error { return runBundleRemove(cmd.Context(), s, o, args[0]) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runBundleRemove(ctx context.Context, s *session, o *outputFlag, which string) error {
	namespace, secret, ok := strings.Cut(which, "/")
	if !ok || namespace == "" || secret == "" {
		return &usageError{message: fmt.Sprintf("%q is not NAMESPACE/NAME", which), hint: "ckecli kubernetes bundle list shows those there are"}
	}
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	change, err := c.RemoveBundle(ctx, name, namespace, secret)
	if err != nil {
		return err
	}
	for _, w := range change.Warnings {
		s.warn("warning: %s", w)
	}
	return s.print(o, change, func() string {
		return fmt.Sprintf("bundle %s of user %s is removed\n", change.Bundle.Key(), change.Bundle.User)
	})
}
