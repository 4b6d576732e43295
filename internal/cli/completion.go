package cli

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long:  "Print a script that lets a shell complete ckecli's commands, flags and names.",
		Example: `  . <(ckecli completion bash)
  ckecli completion zsh > "${fpath[1]}/_ckecli"
  ckecli completion fish > ~/.config/fish/completions/ckecli.fish`,
		Args:      exactly("SHELL"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCompletion(s, cmd.Root(), args[0])
		},
	}
}

func runCompletion(s *session, root *cobra.Command, shell string) error {
	var b bytes.Buffer
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(&b, true)
	case "zsh":
		err = root.GenZshCompletion(&b)
	case "fish":
		err = root.GenFishCompletion(&b, true)
	default:
		return &usageError{message: fmt.Sprintf("unknown shell %q", shell), hint: "choose bash, zsh or fish"}
	}
	if err != nil {
		return fmt.Errorf("make completion script: %w", err)
	}
	return s.write(b.String())
}
