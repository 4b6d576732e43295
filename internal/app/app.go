// Package app wires the daemon: the store, one loop per cluster, and the API.
// New checks, Start begins, Stop ends; nothing runs before Start or after Stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"cke/internal/api"
	"cke/internal/config"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/host/agent"
	"cke/internal/observe"
	"cke/internal/release"
	"cke/internal/store"
)

// Options for New.
type Options struct {
	Config  config.Daemon
	Version string
	Log     *slog.Logger
	// RestoreState names a file of `ckecli state backup` to begin from; the data
	// directory must then hold no store.
	RestoreState string
	// Before and After are told of every mutation; for crash tests.
	Before execute.Before
	After  execute.After
	// Outcome is told how each of them went.
	Outcome execute.Outcome
}

// App is one daemon.
type App struct {
	o     Options
	log   *slog.Logger
	hosts *machines
	shelf *release.Shelf

	store *store.Store
	self  store.Candidate
	srv   *http.Server

	newest observe.Newest

	mu    sync.Mutex
	term  *term            // nil while this daemon does not lead
	cares map[string]*care // of the term
	// beginning are clusters whose care is being made; closed when it is, or failed.
	beginning map[string]chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	// failed carries the first error that ends the daemon.
	failed chan error
	// boot is that of the machine this is.
	boot string
	// setting holds a token while a spec is checked and stored: two at a time could take
	// one machine for two clusters. Another daemon's leader does not count, for the store
	// takes nothing from who leads no more.
	setting chan struct{}
}

// New returns a daemon that has not started.
func New(o Options) *App {
	return &App{o: o, log: o.Log, cares: map[string]*care{}, beginning: map[string]chan struct{}{}, failed: make(chan error, 1), setting: make(chan struct{}, 1)}
}

// Start opens the store, begins to care for its clusters and serves the API. It
// returns once the API answers. On failure nothing is left running.
func (a *App) Start(ctx context.Context) (err error) {
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(ctx))
		}
	}()
	if err := a.openStore(ctx); err != nil {
		return err
	}
	a.shelf = release.New(release.Options{
		Dir: a.o.Config.Local.Releases, Cache: filepath.Join(a.o.Config.DataDir, "packed"), Log: a.log,
	})
	if err := a.shelf.Clean(); err != nil {
		return fmt.Errorf("clean the cache of packed releases: %w", err)
	}
	if a.hosts, err = newMachines(a); err != nil {
		return err
	}
	if a.boot, err = agent.BootID(); err != nil {
		return fmt.Errorf("tell which boot of this machine it is: %w", err)
	}
	a.wg.Go(func() {
		if err := a.hosts.releases.Look(a.ctx); err != nil && a.ctx.Err() == nil {
			a.log.Warn("look at the releases", "err", err)
		}
	})
	listeners, err := a.listen()
	if err != nil {
		return err
	}
	if !a.store.Shared() {
		if err := a.leadAlways(ctx); err != nil {
			return errors.Join(err, closeAll(listeners))
		}
	}
	a.serve(listeners)
	if a.store.Shared() {
		a.wg.Go(a.leadInTurn)
	}
	a.log.Info("cke started", "version", a.o.Version, "store_id", a.store.ID(), "epoch", a.store.Epoch(), "socket", a.o.Config.Socket)
	return nil
}

// Failed delivers the error that made the daemon unable to go on.
func (a *App) Failed() <-chan error { return a.failed }

// Stop ends the API, the loops, the connections to hosts and the store, in this
// order. Where another daemon waits for the lead, the loops go first, and with
// them the requests under way. Members go on.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	if a.store != nil && a.store.Shared() {
		a.cancel()
		errs = append(errs, a.end(ctx))
	}
	if a.srv != nil {
		errs = append(errs, a.srv.Shutdown(ctx))
	}
	a.cancel()
	if a.store != nil {
		errs = append(errs, a.end(ctx))
	}
	a.wg.Wait()
	if a.hosts != nil {
		errs = append(errs, a.hosts.remote.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
		a.store = nil
	}
	return errors.Join(errs...)
}

type hintError struct {
	error
	hint string
}

func (e *hintError) Hint() string  { return e.hint }
func (e *hintError) Unwrap() error { return e.error }

func (a *App) identity() host.Identity {
	return host.Identity{StoreID: a.store.ID(), Epoch: a.store.Epoch(), Elected: a.store.Shared(), Proof: a.store.Proof()}
}

// caller is who a host is told that calls, as known right before it is asked. A
// process that was stopped and goes on later asks nobody in an old leader's name.
func (a *App) caller() host.Identity {
	id := a.identity()
	if a.store.Shared() && !a.store.Leads() {
		id.Epoch = -1
	}
	return id
}

func (a *App) listen() ([]net.Listener, error) {
	cfg := a.o.Config
	o := api.Options{Version: a.o.Version, Log: a.log, Lead: a.lead}
	if a.store.Shared() {
		o.Machine = a.self.Hostname
	}
	handler := api.NewServer(backend{a}, o)
	a.srv = api.HTTPServer(handler, a.log)
	l, err := api.ListenUnix(cfg.Socket)
	if err != nil {
		return nil, err
	}
	listeners := []net.Listener{l}
	if cfg.Listen == nil {
		return listeners, nil
	}
	if a.srv.TLSConfig, err = api.TLSConfig(cfg.Listen.Certificate, cfg.Listen.Key, cfg.Listen.ClientCA, a.log); err != nil {
		return nil, errors.Join(err, closeAll(listeners))
	}
	t, err := net.Listen("tcp", cfg.Listen.Address)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", cfg.Listen.Address, err), closeAll(listeners))
	}
	return append(listeners, t), nil
}

func closeAll(ls []net.Listener) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// serve runs the API on the socket, the first listener, and on HTTPS.
func (a *App) serve(listeners []net.Listener) {
	for i, l := range listeners {
		a.wg.Go(func() {
			serve := a.srv.Serve
			if i > 0 {
				serve = func(l net.Listener) error { return a.srv.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				a.fail(fmt.Errorf("serve the API on %s: %w", l.Addr(), err))
			}
		})
	}
}

// fail ends the daemon with the first error.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
		a.log.Error("another failure while ending", "err", err)
	}
}
