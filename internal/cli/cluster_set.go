package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/units"
)

type setOptions struct {
	output  *outputFlag
	wait    bool
	timeout positiveDuration
}

func newClusterSet(s *session) *cobra.Command {
	o := setOptions{timeout: positiveDuration(units.Duration(10 * time.Minute))}
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Create or change a cluster from its cluster.yml",
		Long: `Create or change the cluster that FILE names ("-" reads stdin). All problems of
the file are shown at once, each with its line and column, and then nothing is
changed.

With --wait it returns when the cluster is as wanted: exit code 0. When
something holds cke back and nothing else moves, it says what, with exit code 3;
cke goes on trying.`,
		Example: `  ckecli cluster set cluster.yml
  ckecli cluster set cluster.yml --wait --timeout 15m
  ckecli cluster get > cluster.yml    # the file as cke has it`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runClusterSet(cmd.Context(), s, o, args[0])
		},
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "return only when the cluster is as wanted")
	cmd.Flags().Var(&o.timeout, "timeout", "how long --wait waits")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

// setResult is the JSON of cluster set; the status only with --wait.
type setResult struct {
	api.SpecChange
	Status *api.Status `json:"status,omitempty"`
}

func runClusterSet(ctx context.Context, s *session, o setOptions, file string) error {
	text, err := s.readSpec(file)
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	change, err := c.PutSpec(ctx, file, text)
	if err != nil {
		return err
	}
	for _, w := range change.Warnings {
		s.warn("warning: %s", w)
	}
	result := setResult{SpecChange: change}
	if o.output.value == asText {
		if err := s.write(changeText(change)); err != nil {
			return err
		}
	}
	if o.wait {
		w := newWaiter(s, c, change, o)
		st, err := w.run(ctx)
		if err != nil {
			return err
		}
		result.Status = &st
	}
	if o.output.value == asJSON {
		return s.printJSON(result)
	}
	return nil
}

// specName finds the name in a cluster.yml well enough to catch a mix-up.
var specName = regexp.MustCompile(`(?m)^name:[ \t]*["']?([^\s"'#]+)`)

func (s *session) readSpec(file string) ([]byte, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(s.env.Stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster file: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, api.Invalid(file+":1:1: the file is empty", "nothing was changed")
	}
	if m := specName.FindSubmatch(text); m != nil && s.clusterName != "" && string(m[1]) != s.clusterName {
		return nil, &usageError{
			message: fmt.Sprintf("%s is about cluster %s, but --cluster says %s", file, m[1], s.clusterName),
		}
	}
	return text, nil
}

func changeText(c api.SpecChange) string {
	what := "unchanged"
	switch {
	case c.Created:
		what = "created"
	case c.Changed:
		what = "changed"
	}
	return fmt.Sprintf("cluster %s %s (revision %d)\n", c.Cluster, what, c.Revision)
}
