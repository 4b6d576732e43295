package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

// completePatience bounds how long a shell waits for a name.
const completePatience = 2 * time.Second

// complete offers names of the cluster; none when cke cannot be asked.
func (s *session) complete(cmd *cobra.Command, list func(context.Context, *api.Client, string) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
	defer cancel()
	c, name, err := s.connect(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := list(ctx, c, name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) completeUsers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.complete(cmd, func(ctx context.Context, c *api.Client, name string) (names []string, err error) {
		users, err := c.Users(ctx, name)
		for _, u := range users {
			names = append(names, u.Name)
		}
		return names, err
	})
}

func (s *session) completeBundles(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.complete(cmd, func(ctx context.Context, c *api.Client, name string) (names []string, err error) {
		bundles, err := c.Bundles(ctx, name)
		for _, b := range bundles {
			names = append(names, b.Key())
		}
		return names, err
	})
}

func (s *session) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.complete(cmd, func(ctx context.Context, c *api.Client, name string) (names []string, err error) {
		st, err := c.Status(ctx, name)
		for _, n := range st.Nodes {
			names = append(names, string(n.Hostname))
		}
		return names, err
	})
}
