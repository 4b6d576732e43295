package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newUserList(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "user-list",
		Short: "List the users with their prefixes",
		Long: `List the users that cke keeps in etcd, each with the prefix of keys it may read
and write. root, which has every key, is not among them.`,
		Example: "  ckecli etcd user-list",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runUserList(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runUserList(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	users, err := c.Users(ctx, name)
	if err != nil {
		return err
	}
	return s.print(o, users, func() string {
		rows := [][]string{{"USER", "PREFIX"}}
		for _, u := range users {
			rows = append(rows, []string{u.Name, u.Prefix})
		}
		return table(rows)
	})
}
