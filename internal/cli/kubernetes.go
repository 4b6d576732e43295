package cli

import "github.com/spf13/cobra"

func newKubernetes(s *session) *cobra.Command {
	return newGroup("kubernetes", "What Kubernetes needs of etcd: flags, Secrets, access",
		`What Kubernetes needs of the etcd cluster: the flags of an API server, Secrets
for the users whose applications run in Kubernetes, and the access cke needs
there.`,
		newEtcdConfig(s), newBundle(s), newManifests(s))
}
