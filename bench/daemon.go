package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
)

// site is where a daemon's cluster, called bench, lives.
type site struct {
	config    string // more lines of config.yml
	spec      []byte // cluster.yml
	addresses []string
}

// onLoopback is three members on this machine.
func onLoopback(network string) site {
	var b strings.Builder
	b.WriteString("name: bench\nnodes:\n")
	var s site
	for i := 1; i <= 3; i++ {
		a := fmt.Sprintf("%s.%d", network, i)
		fmt.Fprintf(&b, "  - {address: %s, hostname: n%d, control_plane: true}\n", a, i)
		s.addresses = append(s.addresses, a)
	}
	s.spec = []byte(b.String())
	return s
}

func (s site) endpoints() []string {
	var out []string
	for _, a := range s.addresses {
		out = append(out, "https://"+a+":2379")
	}
	return out
}

// daemon is a real cke with a directory of its own and no cluster yet.
type daemon struct {
	dir     string
	site    site
	sockets string // apart, because a socket's path is limited to 108 bytes
	cmd     *exec.Cmd
	log     *os.File
	api     *api.Client
}

// startDaemon returns when the daemon answers.
func startDaemon(ctx context.Context, o options, name string, s site) (d *daemon, err error) {
	d = &daemon{dir: filepath.Join(o.dir, name), site: s}
	release := filepath.Join(d.dir, "releases", "v"+cluster.DefaultVersion)
	if err := os.MkdirAll(release, 0o700); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(o.bin, "etcd"), filepath.Join(release, "etcd")); err != nil {
		return nil, err
	}
	if d.sockets, err = os.MkdirTemp("", "cke-bench-"); err != nil {
		return nil, err
	}
	socket := filepath.Join(d.sockets, "cke.sock")
	config := fmt.Sprintf("data_dir: %[1]s/data\nkey_file: %[1]s/seal.key\nsocket: %[2]s\nlocal:\n  root: %[1]s/hosts\n  releases: %[1]s/releases\n%[3]s",
		d.dir, socket, s.config)
	if err := os.WriteFile(filepath.Join(d.dir, "config.yml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if d.log, err = os.Create(filepath.Join(d.dir, "cke.log")); err != nil {
		return nil, err
	}
	if d.api, err = api.NewClient("unix://"+socket, api.ClientTLS{}); err != nil {
		return nil, err
	}
	d.cmd = exec.Command(filepath.Join(o.bin, "cke"), "--config", filepath.Join(d.dir, "config.yml"))
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start cke: %w", err)
	}
	if err := d.answers(ctx); err != nil {
		return nil, errors.Join(err, d.explain(), d.stop())
	}
	return d, nil
}

func (d *daemon) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := d.api.Leader(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for cke: %w", err)
		case <-time.After(retryEvery):
		}
	}
}

// until returns when the status satisfies a condition.
func (d *daemon) until(ctx context.Context, holds func(api.Status) bool) error {
	reached := errors.New("reached")
	err := d.api.WatchStatus(ctx, "bench", func(s api.Status) error {
		if holds(s) {
			return reached
		}
		return nil
	})
	switch {
	case errors.Is(err, reached):
		return nil
	case err == nil:
		return errors.New("the status ended")
	default:
		return err
	}
}

// stop ends the daemon, then its members, which outlive it by design, and
// removes all they wrote.
func (d *daemon) stop() error {
	var errs []error
	errs = append(errs, d.cmd.Process.Signal(syscall.SIGTERM))
	var exit *exec.ExitError
	if err := d.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		errs = append(errs, err)
	}
	members, err := membersUnder(d.dir)
	errs = append(errs, err)
	for _, m := range members {
		errs = append(errs, m.kill())
	}
	for left := members; len(left) > 0; {
		time.Sleep(retryEvery)
		if left, err = membersUnder(d.dir); err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(append(errs, d.log.Close(), os.RemoveAll(d.dir), os.RemoveAll(d.sockets))...)
}

// over stops the daemon, and tells why it failed if it did.
func (d *daemon) over(err error) error {
	if err != nil {
		err = errors.Join(err, d.explain())
	}
	return errors.Join(err, d.stop())
}

// explain is the end of the daemon's log, as an error.
func (d *daemon) explain() error {
	raw, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return fmt.Errorf("the log of cke ends:\n%s", strings.Join(lines[max(0, len(lines)-20):], "\n"))
}
