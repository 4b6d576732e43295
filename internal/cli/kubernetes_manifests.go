package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

func newManifests(s *session) *cobra.Command {
	var to api.Subject
	cmd := &cobra.Command{
		Use:   "manifests",
		Short: "Print the access cke needs in Kubernetes, as YAML",
		Long: `Print what an administrator applies in Kubernetes so that cke may keep the
endpoints and Secrets there: the least roles it needs, bound to whom cke comes
as. They name the namespaces and Secrets of the bundles there are now; apply
them again after a bundle was added.

The roles for bundles are named after the cluster: clusters that share a
Kubernetes need different names, also when different installations of cke keep
them, or each takes the other's roles over.

Without any of the flags cke comes as the service account cke in kube-system,
which is among the manifests.`,
		Example: `  ckecli kubernetes manifests | kubectl apply -f -
  ckecli kubernetes manifests --user cke | kubectl apply -f -`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runManifests(cmd.Context(), s, to) },
	}
	f := cmd.Flags()
	f.StringVar(&to.ServiceAccount, "service-account", "", "the `NS/NAME` of the service account cke comes as")
	f.StringVar(&to.User, "user", "", "the `NAME` of the user cke comes as")
	f.StringVar(&to.Group, "group", "", "the `NAME` of a group cke belongs to")
	return cmd
}

func runManifests(ctx context.Context, s *session, to api.Subject) error {
	named := 0
	for _, v := range []string{to.ServiceAccount, to.User, to.Group} {
		if v != "" {
			named++
		}
	}
	if named > 1 {
		return &usageError{message: "cke comes as one: a service account, a user or a group", hint: "ckecli kubernetes manifests --help"}
	}
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	text, err := c.Manifests(ctx, name, to)
	if err != nil {
		return err
	}
	return s.write(string(text))
}
