package cli

import "github.com/spf13/cobra"

func newEtcd(s *session) *cobra.Command {
	return newGroup("etcd", "Certificates, users, members and backups of etcd",
		`Certificates, users, members and backups of the etcd cluster itself. Every user
has one prefix of keys and no password: a client certificate in the user's name
is what lets it in.`,
		newRootIssue(s), newIssue(s), newUserAdd(s), newUserList(s), newUserRemove(s), newMembers(s), newDefrag(s), newLocalBackup(s))
}
