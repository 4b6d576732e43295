package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cke/internal/cluster"
)

func newUserAdd(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "user-add USER PREFIX",
		Short: "Add a user with a prefix of its own",
		Long: `Add an etcd user that may read and write the keys under PREFIX, and no others.
Returns when etcd knows the user. Adding the same user with the same prefix
again is fine; another prefix, or one that overlaps another user's, is refused.`,
		Example: `  ckecli etcd user-add app /app/
  ckecli etcd issue app --output file`,
		Args: exactly("USER", "PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runUserAdd(cmd.Context(), s, o, cluster.User{Name: args[0], Prefix: args[1]})
		},
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

// userResult is the JSON of user-add.
type userResult struct {
	Cluster string `json:"cluster"`
	cluster.User
	Created bool `json:"created"`
}

func runUserAdd(ctx context.Context, s *session, o *outputFlag, u cluster.User) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	created, err := c.AddUser(ctx, name, u)
	if err != nil {
		return err
	}
	return s.print(o, userResult{name, u, created}, func() string {
		if !created {
			return fmt.Sprintf("user %s with prefix %s is there already\n", u.Name, u.Prefix)
		}
		return fmt.Sprintf("user %s added with prefix %s\n", u.Name, u.Prefix)
	})
}
