package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/cluster"
)

const (
	asText = "text"
	asJSON = "json"
	asFile = "file"
)

// outputFlag is --output; the first of the allowed values is the default.
type outputFlag struct {
	value   string
	allowed []string
}

func addOutput(cmd *cobra.Command, allowed ...string) *outputFlag {
	o := &outputFlag{value: allowed[0], allowed: allowed}
	cmd.Flags().Var(o, "output", strings.Join(allowed, " or "))
	// Fails only for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	return o
}

func (o *outputFlag) String() string { return o.value }
func (o *outputFlag) Type() string   { return "format" }

// Set takes an allowed value.
func (o *outputFlag) Set(v string) error {
	if !slices.Contains(o.allowed, v) {
		return fmt.Errorf("choose %s", strings.Join(o.allowed, " or "))
	}
	o.value = v
	return nil
}

// print writes v as JSON, or else its text.
func (s *session) print(o *outputFlag, v any, text func() string) error {
	if o.value == asJSON {
		return s.printJSON(v)
	}
	return s.say(text())
}

func (s *session) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return s.write(b.String())
}

// printLine writes v as JSON on one line, for output that goes on.
func (s *session) printLine(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return s.write(string(line) + "\n")
}

// say writes text for people, which may quote what a machine said.
func (s *session) say(text string) error { return s.write(cluster.Plain(text)) }

func (s *session) write(text string) error {
	if _, err := s.env.Stdout.Write([]byte(text)); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
