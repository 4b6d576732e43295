package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

type drainOptions struct {
	output    *outputFlag
	why       whyFlag
	interrupt bool
	timeout   positiveDuration
}

// drainResult is the JSON of drain and undrain.
type drainResult struct {
	Cluster string           `json:"cluster"`
	Node    cluster.NodeName `json:"node"`
	Drained bool             `json:"drained"`
}

func newNodeDrain(s *session) *cobra.Command {
	o := drainOptions{timeout: positiveDuration(units.Duration(5 * time.Minute))}
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Take a node out of service for maintenance",
		Long: `Take a node out of service: leadership and clients are led away from its member,
and the member is stopped and stays stopped until ckecli node undrain, whatever
becomes of cke. It keeps its seat and its data; nobody takes its place. A node
without a member gets none.

It is refused (exit 3) when the other members would not be a quorum, or another
node is drained already. Of one or two voters none can be spared: --interrupt
says that nobody needs to be served meanwhile.`,
		Example: `  ckecli node drain cp2 --why "a new disk"
  ckecli node undrain cp2`,
		Args: exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runNodeDrain(cmd.Context(), s, o, args[0]) },
	}
	addWhy(cmd.Flags(), &o.why)
	cmd.Flags().BoolVar(&o.interrupt, "interrupt", false, "of one or two voters: accept that nobody is served meanwhile")
	cmd.Flags().Var(&o.timeout, "timeout", "how long it is waited for")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeDrain(ctx context.Context, s *session, o drainOptions, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	a, err := c.DrainNode(ctx, name, node, api.DrainRequest{Why: string(o.why), Interrupt: o.interrupt})
	if err != nil {
		return err
	}
	err = awaitStatus(ctx, s, c, name, o.timeout, a.Node, func(st api.Status) (bool, error) {
		for _, r := range st.Plan.Reasons {
			switch {
			case r.Node != a.Node:
			case r.Rule == "nodeIsDrained":
				return true, nil
			case r.Level == plan.Blocked && r.Rule == "quorumWouldBeLost":
				return false, api.Refused(fmt.Sprintf("node %s is not drained yet: %s", a.Node, r.Text), r.Hint)
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	return s.print(o.output, drainResult{name, a.Node, true}, func() string {
		return fmt.Sprintf("node %s is drained; put it into service again with ckecli node undrain %s\n", a.Node, a.Node)
	})
}

func newNodeUndrain(s *session) *cobra.Command {
	o := drainOptions{timeout: positiveDuration(units.Duration(5 * time.Minute))}
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "Put a drained node into service again",
		Long: `Put a drained node into service again: its member is started, and clients are
led to it once it serves. It returns when the member is in sync with the others.
It is refused (exit 3) while ckecli node reboot is to do it, or the machine was
told to reboot and may go at any moment.`,
		Example: `  ckecli node undrain cp2`,
		Args:    exactly("NODE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return runNodeUndrain(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().Var(&o.timeout, "timeout", "how long it is waited for")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeUndrain(ctx context.Context, s *session, o drainOptions, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	a, err := c.UndrainNode(ctx, name, node)
	if err != nil {
		return err
	}
	err = awaitStatus(ctx, s, c, name, o.timeout, a.Node, func(st api.Status) (bool, error) {
		return !slices.ContainsFunc(st.Drains, func(d cluster.Drain) bool { return d.Node == a.Node }), nil
	})
	if err != nil {
		return err
	}
	return s.print(o.output, drainResult{name, a.Node, false}, func() string {
		return fmt.Sprintf("node %s is in service\n", a.Node)
	})
}
