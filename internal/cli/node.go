package cli

import "github.com/spf13/cobra"

func newNode(s *session) *cobra.Command {
	return newGroup("node", "The machines: list, check, trust, claim, drain, reboot, clean",
		`The machines of a cluster. They come and go with cluster.yml (cluster set); here
is what a person has to decide about one of them.`,
		newNodeList(s), newNodeCheck(s), newNodeTrust(s), newNodeClaim(s), newNodeLogs(s), newNodeDrain(s), newNodeUndrain(s), newNodeReboot(s), newNodeClean(s))
}
