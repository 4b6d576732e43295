package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
)

const (
	startPatience   = time.Minute
	healthyPatience = 2 * time.Minute
)

// Up starts the daemon in the background unless it runs, waits until the
// cluster is healthy, writes DIR/env and says what to do next.
func (o Options) Up(ctx context.Context, out io.Writer) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	pid, err := o.daemonPID()
	switch {
	case err != nil:
		return err
	case pid != 0 && o.RestoreState != "":
		return &RunsError{Dir: o.Dir, PID: pid}
	case pid != 0:
		say(out, "cke runs already (pid %d)\n", pid)
		err = o.awaitAnswer(ctx, c, nil)
	default:
		err = o.startDaemon(ctx, c, out)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthyPatience)
	defer cancel()
	s, err := awaitHealthy(ctx, c, out)
	if err != nil {
		return &logHint{err, o.logFile()}
	}
	return o.writeEnv(out, s)
}

// RunsError says that a daemon runs already, and so cannot begin from a backup.
type RunsError struct {
	Dir string
	PID int
}

func (e *RunsError) Error() string {
	return fmt.Sprintf("--restore-state: cke runs already below %s (pid %d) and keeps its own state", e.Dir, e.PID)
}

// logHint points an operator at the daemon's log.
type logHint struct {
	error
	file string
}

func (e *logHint) Hint() string  { return "the daemon's log is " + e.file }
func (e *logHint) Unwrap() error { return e.error }

func (o Options) logFile() string { return filepath.Join(o.Dir, "cke.log") }

// startDaemon runs `cke dev` in a session of its own and waits until its API
// answers, or it has ended.
func (o Options) startDaemon(ctx context.Context, c *api.Client, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	log, err := os.OpenFile(o.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cmd := exec.Command(self, o.daemonArgs()...) //nolint:gosec // this very program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(cmd.Start(), log.Close())
	if err != nil {
		return fmt.Errorf("start cke: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its log tells why it ended
		close(ended)
	}()
	if err := o.awaitAnswer(ctx, c, ended); err != nil {
		return err
	}
	say(out, "cke started (pid %d)\n", cmd.Process.Pid)
	return nil
}

// daemonArgs are what the daemon in the background is told: all of the options.
func (o Options) daemonArgs() []string {
	args := []string{"dev", "--dir", o.Dir, "--nodes", strconv.Itoa(o.Nodes), "--first-address", o.First.String(), "--binaries", o.Binaries}
	if o.RestoreState != "" {
		args = append(args, "--restore-state", o.RestoreState)
	}
	return args
}

// awaitAnswer waits until the daemon's API answers. A daemon that is no child
// of this process has no channel that tells its end.
func (o Options) awaitAnswer(ctx context.Context, c *api.Client, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		_, err := c.Leader(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("cke ended at once; the end of %s:\n%s", o.logFile(), tail(o.logFile()))
		case <-ctx.Done():
			return fmt.Errorf("cke does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// awaitHealthy tells each change of the plan until the cluster is healthy.
func awaitHealthy(ctx context.Context, c *api.Client, out io.Writer) (api.Status, error) {
	done := errors.New("healthy")
	said := ""
	var last api.Status
	if err := awaitCluster(ctx, c); err != nil {
		return last, err
	}
	err := c.WatchStatus(ctx, ClusterName, func(s api.Status) error {
		if last = s; s.Healthy {
			return done
		}
		if p := s.Plan.String(); p != said && len(s.Plan.Steps) > 0 {
			said = p
			say(out, "%s\n", s.Plan.Steps[0])
		}
		return nil
	})
	if errors.Is(err, done) {
		return last, nil
	}
	return last, fmt.Errorf("the cluster is not healthy: %w\n%s", err, last.Plan)
}

// awaitCluster waits until the daemon has given itself the first cluster, which
// it does right after its API answers.
func awaitCluster(ctx context.Context, c *api.Client) error {
	for {
		_, _, err := c.Spec(ctx, ClusterName)
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeNotFound {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// writeEnv leaves a file to be sourced. It names no ETCDCTL_*: etcdctl refuses a
// variable beside its flag.
func (o Options) writeEnv(out io.Writer, s api.Status) error {
	cfg, err := o.Config()
	if err != nil {
		return err
	}
	from, err := o.etcd()
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(filepath.Dir(from))
	if err != nil {
		return fmt.Errorf("find %s: %w", from, err)
	}
	env := fmt.Sprintf("export PATH=%s:\"$PATH\"\nexport CKE_SERVER=%s\n", quote(bin), quote("unix://"+cfg.Socket))
	file := filepath.Join(o.Dir, "env")
	if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
		return fmt.Errorf("write env: %w", err)
	}
	var members []string
	for _, n := range s.Nodes {
		if n.Member != nil {
			members = append(members, net.JoinHostPort(n.Address, strconv.Itoa(cluster.ClientPort)))
		}
	}
	say(out, `
The cluster is healthy: %d members with TLS and RBAC, kept alive by cke.

Next:
  . %s
  ckecli status
  ckecli etcd user-add app /app/
  ckecli etcd issue --output file app
  etcdctl --endpoints=%s --cacert=etcd-ca.crt --cert=etcd-app.crt --key=etcd-app.key put /app/x hello

The guide is docs/etcd.md. make down stops everything and keeps the data.
`, len(members), file, members[0])
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// say writes to the user. A closed terminal is no reason to fail.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
