package cli

import "github.com/spf13/cobra"

func newState(s *session) *cobra.Command {
	return newGroup("state", "Back up what cke itself knows",
		`What cke itself knows: the certificate authorities (sealed), what is wanted of
the clusters, the users and the history. It is apart from the data in etcd,
which ckecli etcd local-backup saves.`,
		newStateBackup(s))
}
