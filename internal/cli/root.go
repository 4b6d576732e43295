package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// New makes the whole command tree.
func New(env Env) *cobra.Command {
	s := &session{env: env}
	root := &cobra.Command{
		Use:   "ckecli",
		Short: "Look after etcd clusters through cke",
		Long: `ckecli talks to cke, the daemon that bootstraps etcd clusters and keeps them
alive. It finds cke by --server, then by CKE_SERVER, then by the configuration
named with --config, then by ` + env.ConfigPath + `.

If something is wrong, these two say what and what comes next:

  ckecli status
  ckecli history`,
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help-command"})
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(flagError)
	cobra.AddTemplateFunc("flagUsages", flagUsages)
	usage := strings.NewReplacer(".LocalFlags.FlagUsages", "flagUsages .LocalFlags", ".InheritedFlags.FlagUsages", "flagUsages .InheritedFlags",
		"for more information about a command", "for more about a command")
	root.SetUsageTemplate(usage.Replace(root.UsageTemplate()))
	s.addFlags(root)
	root.AddCommand(
		newCluster(s), newStatus(s), newPlan(s), newHistory(s), newLeader(s),
		newEtcd(s), newKubernetes(s), newNode(s), newPause(s), newResume(s), newState(s),
		newCompletion(s), newVersion(s),
	)
	return root
}

// newGroup is a command that only holds others.
func newGroup(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return &usageError{
				message: fmt.Sprintf("%s needs a command: %s", cmd.CommandPath(), strings.Join(names, ", ")),
				hint:    cmd.CommandPath() + " --help",
			}
		},
	}
	group.AddCommand(commands...)
	return group
}

func unknownCommand(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{message: fmt.Sprintf("%s has no command %q", cmd.CommandPath(), word), hint: hint}
}

func flagError(cmd *cobra.Command, err error) error {
	// A misspelt command's flags are unknown too; the command is the reason.
	if cmd.HasAvailableSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownCommand(cmd, cmd.Flags().Arg(0))
	}
	return &usageError{message: err.Error(), hint: cmd.CommandPath() + " --help"}
}

// exactly takes one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		if len(args) < len(names) {
			return &usageError{message: fmt.Sprintf("%s is missing", names[len(args)]), hint: hint}
		}
		if len(args) > len(names) {
			return &usageError{message: fmt.Sprintf("unexpected argument %q", args[len(names)]), hint: hint}
		}
		return nil
	}
}

// atMost wants no more arguments than those named.
func atMost(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exactly(names[:min(len(args), len(names))]...)(cmd, args)
	}
}

// flagUsages describes flags; of a switch it does not say that it takes "=true"
// and "=false".
func flagUsages(flags *pflag.FlagSet) string {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		plain := *f
		if f.Value.Type() == "bool" {
			plain.Value = struct{ pflag.Value }{f.Value}
		}
		shown.AddFlag(&plain)
	})
	return shown.FlagUsagesWrapped(textWidth)
}
