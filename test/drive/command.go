package drive

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a program of bin/ in the installation's directory.
func (in *Installation) Run(program string, args ...string) Result {
	in.T.Helper()
	cmd := exec.Command(filepath.Join(in.Bin, program), args...)
	cmd.Dir, cmd.Env = in.Dir, in.Environ()
	return in.finish(cmd, 3*Patience)
}

// Environ is the environment in which ckecli finds this installation.
func (in *Installation) Environ() []string {
	return append(os.Environ(), "CKE_SERVER="+in.servers(), "PATH="+in.Bin+":"+os.Getenv("PATH"))
}

// Command prepares a program of bin/ to be started in the installation's
// directory, with more environment. It is killed at the end of the test.
func (in *Installation) Command(environ []string, program string, args ...string) *exec.Cmd {
	in.T.Helper()
	cmd := exec.CommandContext(in.T.Context(), filepath.Join(in.Bin, program), args...)
	cmd.Dir, cmd.Env = in.Dir, append(in.Environ(), environ...)
	return cmd
}

// Finish starts a prepared command and returns how it ended. One that does not
// end is killed and fails the test.
func (in *Installation) Finish(cmd *exec.Cmd) Result {
	in.T.Helper()
	return in.finish(cmd, 3*Patience)
}

func (in *Installation) finish(cmd *exec.Cmd, patience time.Duration) Result {
	in.T.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		in.T.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		in.T.Fatalf("%v does not end\n%s%s", cmd.Args, out.String(), errs.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		in.T.Fatalf("%v: %v", cmd.Args, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// CLI runs ckecli, which must succeed, and returns what it printed.
func (in *Installation) CLI(args ...string) string {
	in.T.Helper()
	r := in.Run("ckecli", args...)
	if r.Code != 0 {
		in.T.Fatalf("ckecli %v: exit %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// CLIFails runs ckecli, which must end with this code, say all of these and
// print no result.
func (in *Installation) CLIFails(code int, args []string, parts ...string) {
	in.T.Helper()
	r := in.Run("ckecli", args...)
	if r.Code != code {
		in.T.Errorf("ckecli %v: exit %d, want %d\n%s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	if code != 0 && r.Stdout != "" && !slices.Contains(args, "--wait") {
		in.T.Errorf("ckecli %v failed and still prints a result: %s", args, r.Stdout)
	}
	in.Says(strings.Join(args, " "), r.Stderr, parts...)
}

// Says checks that each of these is part of a text.
func (in *Installation) Says(what, text string, parts ...string) {
	in.T.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			in.T.Errorf("%s: %q is missing in\n%s", what, p, text)
		}
	}
}

// Decode reads JSON a command printed.
func Decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// shell prepares a script of the installation's directory.
func (in *Installation) shell(path string) *exec.Cmd {
	cmd := exec.Command("bash", path)
	cmd.Dir, cmd.Env = in.Dir, in.Environ()
	return cmd
}
