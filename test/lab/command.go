package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandLimit is for the programs that set the lab up; none takes seconds.
const commandLimit = time.Minute

// command runs a program of the box and returns what it printed.
func command(name string, args ...string) (string, error) {
	return commandWith("", name, args...)
}

// commandWith is command with this standard input.
func commandWith(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	return output(cmd)
}

// output runs cmd and returns its standard output; the error has its standard
// error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), commandError(cmd, err, stderr.String())
	}
	return stdout.String(), nil
}

func commandError(cmd *exec.Cmd, err error, stderr string) error {
	said := strings.TrimSpace(stderr)
	if said != "" {
		said = ": " + said
	}
	return fmt.Errorf("run %s: %w%s", strings.Join(cmd.Args, " "), err, said)
}

// all runs one command per line, each split at its spaces, up to the first that
// fails.
func all(lines ...string) error {
	for _, line := range lines {
		args := strings.Fields(line)
		if _, err := command(args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// poll asks until the answer is yes. What the lab waits for comes within
// milliseconds, so it asks often.
func poll(limit time.Duration, what string, ask func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not within %s", what, limit)
		case <-tick.C:
		}
	}
	return nil
}
