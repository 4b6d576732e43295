package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand visits the commands of a tree with the names of their long flags.
func everyCommand(root *cobra.Command, visit func(path, long []string)) {
	var walk func(*cobra.Command, []string)
	walk = func(cmd *cobra.Command, path []string) {
		var long []string
		note := func(f *pflag.Flag) { long = append(long, f.Name) }
		cmd.LocalFlags().VisitAll(note)
		cmd.InheritedFlags().VisitAll(note)
		visit(append([]string{}, path...), long)
		for _, c := range cmd.Commands() {
			if !c.Hidden {
				walk(c, append(path, c.Name()))
			}
		}
	}
	walk(root, nil)
}

func TestHelp(t *testing.T) {
	const golden = "testdata/help.txt"
	var all strings.Builder
	everyCommand(New(Env{ConfigPath: "/etc/cke/config.yml"}), func(path, _ []string) {
		var out, errs bytes.Buffer
		env := Env{Stdout: &out, Stderr: &errs, ConfigPath: "/etc/cke/config.yml"}
		if code := Main(context.Background(), append(path, "--help"), env); code != exitDone || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, %s", path, code, errs.String())
		}
		if len(path) > 0 && !strings.Contains(out.String(), "Examples:") && !strings.Contains(out.String(), "Available Commands:") {
			t.Errorf("%v has no example", path)
		}
		for line := range strings.Lines(out.String()) {
			if len([]rune(line)) > 81 {
				t.Errorf("%v: a line has %d columns: %s", path, len([]rune(line))-1, line)
			}
		}
		all.WriteString("$ ckecli " + strings.Join(append(path, "--help"), " ") + "\n" + out.String() + "\n")
	})
	compareGolden(t, golden, all.String())
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if update() {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", path, got)
	}
}
