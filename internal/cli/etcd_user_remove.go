package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newUserRemove(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "user-remove USER",
		Short: "Remove a user, its role and its Secrets",
		Long: `Remove an etcd user and its role: its certificates open nothing any more.
Returns when etcd knows the user no more. Secrets that were kept for it in
Kubernetes (ckecli kubernetes bundle) go too, as soon as Kubernetes can be told.

etcd asks who may watch only when a watch begins: one that is open goes on until
its connection ends, so end the application too. A user that is added again
under this name is let in with the old certificates.

The keys under its prefix stay. They belong to nobody until a user with that
prefix is added again.`,
		Example:           "  ckecli etcd user-remove app",
		Args:              exactly("USER"),
		ValidArgsFunction: s.completeUsers,
		RunE:              func(cmd *cobra.Command, args []string) error { return runUserRemove(cmd.Context(), s, o, args[0]) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

// removalResult is the JSON of user-remove.
type removalResult struct {
	Cluster string   `json:"cluster"`
	Removed string   `json:"removed"`
	Prefix  string   `json:"prefix,omitempty"` // whose keys stay
	Bundles []string `json:"bundles,omitempty"`
}

func runUserRemove(ctx context.Context, s *session, o *outputFlag, user string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	users, err := c.Users(ctx, name)
	if err != nil {
		return err
	}
	r := removalResult{Cluster: name, Removed: user}
	for _, u := range users {
		if u.Name == user {
			r.Prefix = u.Prefix
		}
	}
	gone, err := c.RemoveUser(ctx, name, user)
	if err != nil {
		return err
	}
	r.Bundles = gone.Bundles
	return s.print(o, r, func() string {
		text := fmt.Sprintf("user %s removed; etcd refuses its certificates\n", user)
		if r.Prefix != "" {
			text += fmt.Sprintf("the keys under %s stay\n", r.Prefix)
		}
		if len(r.Bundles) > 0 {
			text += wrap("Secrets that go: "+strings.Join(r.Bundles, ", "), "", "  ")
		}
		return text
	})
}
