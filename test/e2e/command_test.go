package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// in is the same installation as seen by a subtest: what fails, fails there.
// Daemons are started and ended by the one it was made from.
func (e *env) in(t *testing.T) *env {
	sub := *e
	sub.t = t
	return &sub
}

// at is the same network and programs with another directory.
func (e *env) at(dir string) *env {
	other := *e
	other.dir, other.log, other.daemon, other.ended = dir, filepath.Join(dir, "cke.log"), nil, nil
	return &other
}

// command prepares a program of bin/ to be started in the installation's
// directory, with more environment. It is ended with the test.
func (e *env) command(environ []string, program string, args ...string) *exec.Cmd {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), filepath.Join(e.bin, program), args...)
	cmd.Dir = e.dir
	cmd.Env = slices.Concat(os.Environ(), []string{"CKE_SERVER=unix://" + filepath.Join(e.dir, "cke.sock")}, environ)
	return cmd
}

// finish starts a prepared command and returns how it ended. One that does not
// end is killed and fails the test.
func (e *env) finish(cmd *exec.Cmd) result {
	e.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		e.t.Fatalf("%v does not end\n%s%s", cmd.Args, out.String(), errs.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		e.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// daemonFails runs cke with a configuration it must refuse, and returns what it
// said.
func (e *env) daemonFails(code int, args ...string) string {
	e.t.Helper()
	r := e.finish(e.command(nil, "cke", args...))
	if r.code != code {
		e.t.Errorf("cke %v: exit %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	return r.stderr
}

// says checks that each of these is part of a text.
func (e *env) says(what, text string, parts ...string) {
	e.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			e.t.Errorf("%s: %q is missing in\n%s", what, p, text)
		}
	}
}

// cliFails runs ckecli, which must end with this code, and say all of these.
func (e *env) cliFails(code int, args []string, parts ...string) {
	e.t.Helper()
	r := e.run("ckecli", args...)
	if r.code != code {
		e.t.Errorf("ckecli %v: exit %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	if code != 0 && r.stdout != "" && !slices.Contains(args, "--wait") {
		e.t.Errorf("ckecli %v failed and still prints a result: %s", args, r.stdout)
	}
	e.says(strings.Join(args, " "), r.stderr, parts...)
}

// tree lists what is below a directory, with sizes: nothing touched is equal.
func (e *env) tree(dir string) []string {
	e.t.Helper()
	var list []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		list = append(list, info.Mode().String()+" "+path)
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.t.Fatal(err)
	}
	return list
}

func (e *env) wantMode(path string, want os.FileMode) {
	e.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		e.t.Error(err)
		return
	}
	if got := info.Mode().Perm(); got != want {
		e.t.Errorf("mode of %s is %04o, want %04o", path, got, want)
	}
}
