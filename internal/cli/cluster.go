package cli

import "github.com/spf13/cobra"

func newCluster(s *session) *cobra.Command {
	return newGroup("cluster", "Say what is wanted, and see it",
		`What is wanted of a cluster is one file, cluster.yml. Set it as often as you
like: cke compares it with what is there and does what is missing, one careful
step at a time.`,
		newClusterSet(s), newClusterGet(s), newClusterList(s))
}
