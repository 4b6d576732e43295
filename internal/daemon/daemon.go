// Package daemon is the command line of cke: it reads flags and the
// configuration, runs one App until it is told to stop, and turns errors into
// messages and exit codes.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"cke/internal/app"
	"cke/internal/config"
	"cke/internal/dev"
	"cke/internal/kube"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `cke bootstraps and maintains etcd clusters.

Usage:
  cke [--config FILE] [--restore-state FILE]   run the daemon until SIGTERM
  cke dev [flags] [up | down | forget]         a cluster of local processes; see cke dev --help
  cke version

Flags:
  --config FILE          the configuration (default /etc/cke/config.yml)
  --restore-state FILE   begin from a file of "ckecli state backup"; the data
                         directory, or the store the configuration names, must
                         be empty and the seal key in its place

Where the configuration names a store, several daemons may share it: one leads,
the others wait. ckecli leader says which.

The daemon stops gracefully at SIGTERM or SIGINT; etcd members go on.
`

const devUsage = `cke dev runs a cluster of local processes below one directory.

Usage:
  cke dev [flags]          run the daemon in the foreground
  cke dev [flags] up       start it in the background, wait until the cluster is
                           healthy, write DIR/env and say what to do next
  cke dev [flags] down     stop the daemon and the members; the data stays
  cke dev [flags] forget   stop everything and remove DIR

Flags:
  --dir DIR               everything lies below it (default .cke)
  --nodes N               members of the first cluster.yml (default 3)
  --first-address IP      loopback address of the first node (default 127.0.0.1)
  --binaries DIR          where etcd lies (default: beside cke)
  --restore-state FILE    begin from a file of "ckecli state backup"; not for a
                          daemon that runs already, nor with down or forget
`

// gcPercent is how much the heap may grow between collections: cke waits most of
// the time and holds connections to hundreds of machines and members, so that
// memory is dearer than the collector's time.
const gcPercent = 50

// Main runs cke with these arguments and returns its exit code.
func Main(args []string, version string, stdout, stderr io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(args) > 0 && args[0] == "version":
		_, err = fmt.Fprintln(stdout, version)
	case len(args) > 0 && args[0] == "dev":
		err = runDev(ctx, args[1:], version, stdout, stderr)
	default:
		err = runDaemon(ctx, args, version, stdout, stderr)
	}
	return report(err, stderr)
}

type usageError struct{ error }

type noConfigError struct{ error }

func (noConfigError) Hint() string {
	return "write one: every key has a default, so an empty file is enough; or try CKE on this machine alone with cke dev"
}

func report(err error, stderr io.Writer) int {
	var bad usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.As(err, &bad):
		_, _ = fmt.Fprintf(stderr, "error: %v\nhint: cke --help\n", err)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "error: %v\n", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", h.Hint())
	}
	return exitFailed
}

func parse(fs *flag.FlagSet, args []string, help string, stdout io.Writer) error {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, help)
		return err
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

func runDaemon(ctx context.Context, args []string, version string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cke", flag.ContinueOnError)
	file := flags.String("config", "/etc/cke/config.yml", "")
	restore := flags.String("restore-state", "", "")
	if err := parse(flags, args, usage, stdout); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unknown command %q", flags.Arg(0))}
	}
	cfg, err := config.LoadDaemon(*file)
	if errors.Is(err, fs.ErrNotExist) {
		return noConfigError{err}
	}
	if err != nil {
		return err
	}
	return serve(ctx, app.Options{Config: cfg, Version: version, RestoreState: *restore, Log: newLog(cfg.Log, stderr)}, nil)
}

func runDev(ctx context.Context, args []string, version string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("cke dev", flag.ContinueOnError)
	o := dev.Options{}
	fs.StringVar(&o.Dir, "dir", ".cke", "")
	fs.IntVar(&o.Nodes, "nodes", 3, "")
	fs.StringVar(&o.Binaries, "binaries", "", "")
	first := fs.String("first-address", "127.0.0.1", "")
	fs.StringVar(&o.RestoreState, "restore-state", "", "")
	if err := parse(fs, args, devUsage, stdout); err != nil {
		return err
	}
	var err error
	if o.First, err = netip.ParseAddr(*first); err != nil {
		return usageError{fmt.Errorf("--first-address: %w", err)}
	}
	if _, err := o.Spec(); err != nil {
		return usageError{err}
	}
	switch verb := fs.Arg(0); {
	case fs.NArg() == 0:
		return serveDev(ctx, o, version, stderr)
	case slices.Contains([]string{"-h", "-help", "--help"}, fs.Arg(1)):
		_, err := io.WriteString(stdout, devUsage)
		return err
	case fs.NArg() > 1:
		return usageError{fmt.Errorf("unexpected argument %q after %q", fs.Arg(1), verb)}
	case verb == "up":
		err := o.Up(ctx, stdout)
		if runs := (*dev.RunsError)(nil); errors.As(err, &runs) {
			return usageError{err}
		}
		return err
	case o.RestoreState != "" && (verb == "down" || verb == "forget"):
		return usageError{fmt.Errorf("--restore-state says what a daemon begins from; %q starts none", verb)}
	case verb == "down":
		return o.Down(ctx, stdout)
	case verb == "forget":
		return o.Forget(ctx, stdout)
	default:
		return usageError{fmt.Errorf("unknown command %q; cke dev knows up, down and forget", verb)}
	}
}

func serveDev(ctx context.Context, o dev.Options, version string, stderr io.Writer) error {
	if err := o.Prepare(); err != nil {
		return err
	}
	cfg, err := o.Config()
	if err != nil {
		return err
	}
	return serve(ctx, app.Options{Config: cfg, Version: version, RestoreState: o.RestoreState, Log: newLog(cfg.Log, stderr)}, o.EnsureCluster)
}

// stopPatience bounds a graceful stop; what is left then is ended hard.
const stopPatience = 20 * time.Second

// serve runs the daemon until a signal or a failure, then stops it gracefully.
func serve(ctx context.Context, o app.Options, started func(context.Context) error) error {
	hook, err := app.EffectHook(os.Getenv)
	if err != nil {
		return err
	}
	if hook != nil {
		o.Before, o.After = hook.Before, hook.After
	}
	o.Outcome = app.OutcomeHook(os.Getenv)
	kube.RouteLogs(o.Log)
	a := app.New(o)
	if err := a.Start(ctx); err != nil {
		return err
	}
	if started != nil {
		err = started(ctx)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-a.Failed():
		}
	}
	o.Log.Info("cke stops; members go on")
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return errors.Join(err, a.Stop(stopCtx))
}

func newLog(c config.Log, w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	opts := &slog.HandlerOptions{Level: levels[c.Level]} // info is the zero level
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
