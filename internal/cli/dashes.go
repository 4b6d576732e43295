package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// singleDashes writes every long flag that was given with one dash with two,
// as pflag wants it. It touches neither the values of flags nor anything after
// "--", nor a word that is no long flag of the command.
func singleDashes(root *cobra.Command, args []string) []string {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args // words that are still being typed
	}
	out := make([]string, 0, len(args))
	cmd := root
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			cmd = descend(cmd, arg)
			out = append(out, arg)
			continue
		}
		word, takesNext := readFlag(cmd, arg)
		out = append(out, word)
		if takesNext && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

// readFlag returns the flag as pflag wants it, and whether the next word is its value.
func readFlag(cmd *cobra.Command, arg string) (string, bool) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if long := lookup(cmd, func(f *pflag.FlagSet) *pflag.Flag { return f.Lookup(name) }); long != nil && len(name) > 1 {
		if !strings.HasPrefix(arg, "--") {
			arg = "-" + arg
		}
		return arg, !hasValue && long.NoOptDefVal == ""
	}
	if strings.HasPrefix(arg, "--") {
		return arg, false
	}
	return arg, shorthandTakesNext(cmd, arg[1:])
}

// shorthandTakesNext says whether a group such as "fn" ends in a flag that
// still waits for its value.
func shorthandTakesNext(cmd *cobra.Command, letters string) bool {
	for i := range len(letters) {
		letter := letters[i : i+1]
		short := lookup(cmd, func(f *pflag.FlagSet) *pflag.Flag { return f.ShorthandLookup(letter) })
		if short == nil {
			return false
		}
		if short.NoOptDefVal == "" {
			return i == len(letters)-1
		}
	}
	return false
}

// lookup finds a flag of the command, of those above it, or of those below it:
// a flag may come before the command it belongs to.
func lookup(cmd *cobra.Command, find func(*pflag.FlagSet) *pflag.Flag) *pflag.Flag {
	cmd.InitDefaultHelpFlag()
	for c := cmd; c != nil; c = c.Parent() {
		if f := find(c.PersistentFlags()); f != nil {
			return f
		}
	}
	return lookupBelow(cmd, find)
}

func lookupBelow(cmd *cobra.Command, find func(*pflag.FlagSet) *pflag.Flag) *pflag.Flag {
	if f := find(cmd.Flags()); f != nil {
		return f
	}
	for _, c := range cmd.Commands() {
		if f := lookupBelow(c, find); f != nil {
			return f
		}
	}
	return nil
}

func descend(cmd *cobra.Command, word string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == word || c.HasAlias(word) {
			return c
		}
	}
	return cmd
}
