package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

type rebootOptions struct {
	output    *outputFlag
	why       whyFlag
	interrupt bool
	cancel    bool
	timeout   positiveDuration
}

// rebootResult is the JSON of node reboot.
type rebootResult struct {
	Cluster   string             `json:"cluster"`
	Rebooted  []cluster.NodeName `json:"rebooted,omitempty"`
	Cancelled bool               `json:"cancelled,omitempty"`
}

func newNodeReboot(s *session) *cobra.Command {
	o := rebootOptions{timeout: positiveDuration(units.Duration(2 * time.Hour))}
	cmd := &cobra.Command{
		Use:   "reboot NODE...",
		Short: "Reboot machines one after another, while the cluster serves",
		Long: `Reboot machines, one after another in the order given. Each is drained first,
told to reboot, and put into service again when it is back; the next one's turn
comes once every member serves and is in sync. A machine counts as rebooted when
it runs another boot than before; when the reboot is over without one of them,
as after --cancel, the command names it (exit 3).

It is cke that does it: ending this command ends the watching only, and --cancel
lets no further machine be rebooted. The machine that cke itself runs on is
refused, and so are nodes without a machine of their own.`,
		Example: `  ckecli node reboot cp1 cp2 cp3 --why "new kernel"
  ckecli node reboot --cancel`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case o.cancel && len(args) > 0:
				return &usageError{message: "--cancel takes no NODE", hint: "it cancels the reboot there is"}
			case !o.cancel && len(args) == 0:
				return &usageError{message: "missing NODE", hint: "name the machines, in the order they are to be rebooted"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.cancel {
				return runRebootCancel(cmd.Context(), s, o)
			}
			return runNodeReboot(cmd.Context(), s, o, args)
		},
	}
	f := cmd.Flags()
	addWhy(f, &o.why)
	f.BoolVar(&o.interrupt, "interrupt", false, "of one or two voters: accept that nobody is served meanwhile")
	f.BoolVar(&o.cancel, "cancel", false, "reboot no further machine")
	f.Var(&o.timeout, "timeout", "how long it is watched")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runRebootCancel(ctx context.Context, s *session, o rebootOptions) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.CancelReboot(ctx, name); err != nil {
		return err
	}
	return s.print(o.output, rebootResult{Cluster: name, Cancelled: true}, func() string {
		return "no further machine is rebooted\n"
	})
}

func runNodeReboot(ctx context.Context, s *session, o rebootOptions, nodes []string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	r, err := c.RebootNodes(ctx, name, api.RebootRequest{Nodes: nodes, Why: string(o.why), Interrupt: o.interrupt})
	if err != nil {
		return err
	}
	shown := ""
	var last cluster.Reboot
	gone := map[cluster.NodeName]bool{}
	err = awaitStatus(ctx, s, c, name, o.timeout, r.Nodes[len(r.Nodes)-1], func(st api.Status) (bool, error) {
		over := st.Reboot == nil || !st.Reboot.At.Equal(r.At)
		if !over {
			last = *st.Reboot
		}
		for _, n := range rebooted(last, st) {
			gone[n] = true
		}
		if over {
			return true, nil
		}
		line := rebootLine(st)
		if line == shown || o.output.value == asJSON {
			return false, nil
		}
		shown = line
		return false, s.say(line)
	})
	switch {
	case errors.Is(err, context.Canceled):
		s.warn("cke goes on rebooting; ckecli node reboot --cancel lets no further machine be rebooted")
		return err
	case err != nil:
		return err
	case len(gone) < len(r.Nodes):
		left := slices.DeleteFunc(slices.Clone(r.Nodes), func(n cluster.NodeName) bool { return gone[n] })
		return api.Refused(fmt.Sprintf("the reboot is over, and %d of %d machines were seen to be rebooted; not %s", len(gone), len(r.Nodes), joined(left)),
			"it was cancelled, a node left the spec, or its end was not seen; ckecli history tells")
	}
	return s.print(o.output, rebootResult{Cluster: name, Rebooted: r.Nodes}, func() string {
		return fmt.Sprintf("rebooted: %s\n", joined(r.Nodes))
	})
}

// rebooted are the machines of a request that were rebooted, as far as it is. The last
// one's end may never be seen on record: it counts once it runs another boot or, where an
// older cke tells no boots, once it is put into service again.
func rebooted(r cluster.Reboot, st api.Status) []cluster.NodeName {
	names := slices.DeleteFunc(slices.Clone(r.Done), func(n cluster.NodeName) bool { return slices.Contains(r.Skipped, n) })
	next, ok := r.Next()
	if !ok || r.Boot == "" {
		return names
	}
	told := slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Boot != "" })
	back := slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Hostname == next && n.Boot != "" && !r.Ends(n.Boot) })
	gone := slices.ContainsFunc(st.Drains, func(d cluster.Drain) bool { return d.Node == next && d.Reboot && !d.Over() })
	if back || !told && !gone {
		names = append(names, next)
	}
	return names
}

func joined(nodes []cluster.NodeName) string {
	var names []string
	for _, n := range nodes {
		names = append(names, string(n))
	}
	return strings.Join(names, ", ")
}

// rebootLine says whose turn it is and what is waited for.
func rebootLine(st api.Status) string {
	n, _ := st.Reboot.Next()
	line := fmt.Sprintf("%d of %d, %s", len(st.Reboot.Done)+1, len(st.Reboot.Nodes), n)
	for _, level := range []plan.Level{plan.Blocked, plan.Waiting} {
		for _, r := range st.Plan.Reasons {
			if r.Node == n && r.Level == level && r.Rule != "hostIsUnreachable" {
				return line + ": " + r.Text + "\n"
			}
		}
	}
	for _, s := range append(st.Running, st.Plan.Steps...) {
		if len(s.Nodes) > 0 && s.Nodes[0] == n {
			return line + ": " + string(s.Kind) + "\n"
		}
	}
	return line + "\n"
}
