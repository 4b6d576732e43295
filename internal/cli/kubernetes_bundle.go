package cli

import "github.com/spf13/cobra"

func newBundle(s *session) *cobra.Command {
	return newGroup("bundle", "Secrets with all that a user's pods need: add, list, remove",
		`Secrets with all that a user's pods need to reach etcd: ca.crt, tls.crt, tls.key
and endpoints. cke keeps them up to date and renews the certificate in time.`,
		newBundleAdd(s), newBundleList(s), newBundleRemove(s))
}
