package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
)

func newNodeCheck(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "check [NODE]",
		Short: "Measure whether machines can carry a member",
		Long: `Measure, now, whether a machine can carry a member: its address and ports, its
clock against cke's, the room and the speed of its data disk, its limits, and
whether it and the others reach each other. Without NODE, all machines that may
carry one are measured. It changes nothing and disturbs no running member.

cke does the same before it places a member; what fails is shown by ckecli plan,
as hostFailsPreflight. The limits are those under preflight in cluster.yml.

It ends with 0 when nothing fails, else with 3.`,
		Example: `  ckecli node check
  ckecli node check cp1 --output json | jq .[].checks`,
		Args: atMost("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNodeCheck(cmd.Context(), s, o, strings.Join(args, ""))
		},
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeCheck(ctx context.Context, s *session, o *outputFlag, node string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	list, err := c.CheckNodes(ctx, name, node)
	if err != nil {
		return err
	}
	if err := s.print(o, list, func() string { return checksText(list) }); err != nil {
		return err
	}
	var failing []string
	for _, n := range list {
		if slices.ContainsFunc(n.Checks, func(c cluster.Check) bool { return c.Verdict == cluster.CheckFail }) {
			failing = append(failing, string(n.Node))
		}
	}
	if len(failing) > 0 {
		return api.Refused("not fit to carry a member: "+strings.Join(failing, ", "), "")
	}
	return nil
}

// checksText is a line for each check, and what to do below it.
func checksText(list []cluster.NodeCheck) string {
	words := map[cluster.Verdict]string{cluster.CheckOK: "ok", cluster.CheckWarn: "WARN", cluster.CheckFail: "FAIL"}
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		width := 0
		for _, c := range n.Checks {
			width = max(width, len(c.Name))
		}
		fmt.Fprintf(&b, "%s (%s)\n", n.Node, n.Address)
		for _, c := range n.Checks {
			first := fmt.Sprintf("  %-4s  %-*s  ", words[c.Verdict], width, c.Name)
			rest := strings.Repeat(" ", len(first))
			b.WriteString(wrap(c.Text, first, rest))
			if c.Hint != "" {
				b.WriteString(wrap(c.Hint, rest+"hint: ", rest+"      "))
			}
		}
	}
	return b.String()
}
