package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/gateway"
)

func (g *gateways) gatewayFile(c string) (gatewayFile, error) {
	maxFiles, err := hardFileLimit(1)
	return gatewayFile{
		cluster: c, program: g.layout.gatewayProgram(), list: g.layout.gatewayList(c), socket: g.layout.gatewaySocket(),
		maxFiles: maxFiles,
	}, err
}

// writeUnit brings the unit's file, its place at boot and systemd's idea of it to
// what they should be. The process is not touched.
func (g *gateways) writeUnit(ctx context.Context, f gatewayFile) error {
	path, text := g.pathOf(gatewayService), f.render()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(old) != text {
		if err := writeAtomic(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := g.startAtBoot(gatewayService); err != nil {
		return err
	}
	return g.load(ctx, gatewayService, len(old) > 0 && string(old) != text)
}

// stale says that a process was started with another unit or program than those
// that are there now.
func (g *gateways) stale(now look, f gatewayFile) (bool, error) {
	if !now.running {
		return false, nil
	}
	hash, err := unitHashOf(now.pid)
	if err != nil {
		return false, err
	}
	exe, err := os.Readlink("/proc/" + strconv.Itoa(now.pid) + "/exe")
	if gone(err) {
		return true, nil
	}
	return hash != f.hash() || exe != g.layout.gatewayProgram(), err
}

// follow has the gateway run and go by its list.
func (g *gateways) follow(ctx context.Context, now look, stale bool, want cluster.Gateway) error {
	ctx, cancel := context.WithTimeout(ctx, gatewayFollow)
	defer cancel()
	switch {
	case !now.running:
		g.log.Info("start gateway", "cluster", want.Cluster, "port", want.Port)
		result, err := g.bus.start(ctx, gatewayService)
		if err := g.awaitStart(ctx, result, err); err != nil {
			return err
		}
	case stale:
		g.log.Info("restart gateway", "cluster", want.Cluster, "port", want.Port)
		result, err := g.bus.restart(ctx, gatewayService)
		if err := g.awaitStart(ctx, result, err); err != nil {
			return err
		}
	case now.unit.text("ActiveState") == "active":
		// Before it is ready the signal would end it; it reads the list then anyway.
		if err := g.bus.kill(ctx, gatewayService, int32(unix.SIGHUP)); err != nil {
			g.log.Debug("signal gateway", "error", err) // it may just have ended, and begins with the list
		}
	}
	g.reached("gateway:started")
	return g.awaitList(ctx, want)
}

// awaitStart returns when a queued start has ended, or its end was missed.
func (g *gateways) awaitStart(ctx context.Context, result <-chan string, err error) error {
	if err != nil {
		return fmt.Errorf("start unit %s: %w", gatewayService, err)
	}
	tick := time.NewTicker(startWait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.notStarted(ctx)
		case r := <-result:
			if r != "done" {
				return g.notStarted(ctx)
			}
			return nil
		case <-tick.C:
		}
		p, err := g.bus.unit(ctx, gatewayService)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("look at unit %s: %w", gatewayService, err)
		}
		if err == nil && !p.jobPending() {
			return nil
		}
	}
}

// notStarted says why: ctx may have ended, so that others are asked with another.
func (g *gateways) notStarted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatewayAnswer)
	defer cancel()
	now, err := g.look(ctx, gatewayService)
	if err != nil {
		return fmt.Errorf("look at unit %s: %w", gatewayService, err)
	}
	if now.running {
		return errors.New("the gateway runs and does not say that it listens")
	}
	return fmt.Errorf("the gateway does not start: %s", g.exit(ctx, now))
}

func follows(r gateway.State, want cluster.Gateway) bool {
	return r.Error == "" && sameGateway(r.Gateway, want)
}

// awaitList returns when the gateway says that it goes by the list.
func (g *gateways) awaitList(ctx context.Context, want cluster.Gateway) error {
	tick := time.NewTicker(gatewayPoll)
	defer tick.Stop()
	for {
		r, err := gateway.ReadState(ctx, g.layout.gatewaySocket())
		if err == nil && follows(r, want) {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		switch {
		case err != nil:
			return errors.Join(fmt.Errorf("ask the gateway: %w", err), g.notStarted(ctx))
		case r.Error != "":
			return fmt.Errorf("the gateway does not go by its list: %s", r.Error)
		}
		return errors.New("the gateway does not go by its list: it has not read it")
	}
}

// report is what the running gateway says; false when it does not.
func (g *gateways) report(ctx context.Context, now look) (gateway.State, bool) {
	if !now.running {
		return gateway.State{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, gatewayAnswer)
	defer cancel()
	r, err := gateway.ReadState(ctx, g.layout.gatewaySocket())
	return r, err == nil
}

// state is nil when no gateway to the cluster is installed.
func (g *gateways) state(ctx context.Context, c string) (*cluster.GatewayState, error) {
	var st cluster.GatewayState
	installed, err := readJSON(g.layout.gatewayList(c), &st.Gateway)
	if err != nil || !installed {
		return nil, err
	}
	now, err := g.look(ctx, gatewayService)
	if err != nil {
		return nil, fmt.Errorf("look at unit %s: %w", gatewayService, err)
	}
	if st.Outdated, err = g.outdated(); err != nil {
		return nil, err
	}
	if st.Running = now.running; !st.Running {
		st.Exit = g.exit(ctx, now)
		return &st, nil
	}
	if r, ok := g.report(ctx, now); ok {
		st.Applied, st.Connections = follows(r, st.Gateway), r.Connections
		st.Outdated = st.Outdated || r.Version < gateway.ProtocolVersion
	}
	return &st, nil
}

// exit is how the last process ended, and the last that it said.
func (g *gateways) exit(ctx context.Context, now look) string {
	if now.service.number("ExecMainCode") == 0 {
		return "it was stopped, or never started"
	}
	text := exitText(now.service)
	if said := g.lastWords(ctx, gatewayService, now).cause(); said != "" {
		text += ": " + said
	}
	return text
}

// remove takes the gateway away if it is the cluster's: its list last, for it is
// by the list that a gateway is known to be here.
func (g *gateways) remove(ctx context.Context, c string) error {
	installed, err := g.clusters()
	if err != nil || !slices.Contains(installed, c) {
		return err
	}
	foreign, err := g.foreignUnit(ctx)
	if err != nil {
		return err
	}
	if foreign == "" && len(installed) == 1 {
		if err := g.removeUnit(ctx); err != nil {
			return err
		}
	}
	g.reached("gateway:removed")
	if len(installed) == 1 {
		program := g.layout.gatewayProgram()
		tmp := filepath.Join(filepath.Dir(program), programTmp)
		if err := errors.Join(remove(program), remove(tmp), remove(g.recordPath())); err != nil {
			return err
		}
	}
	g.log.Info("remove gateway", "cluster", c)
	return remove(g.layout.gatewayList(c))
}

func (g *gateways) removeUnit(ctx context.Context) error {
	if err := g.stopUnit(ctx, gatewayService, atMost(gatewayStop)); err != nil {
		return fmt.Errorf("stop the gateway: %w", err)
	}
	if err := errors.Join(remove(g.linkOf(gatewayService)), remove(g.pathOf(gatewayService))); err != nil {
		return err
	}
	if err := g.bus.forget(ctx, gatewayService); err != nil {
		return fmt.Errorf("forget unit %s: %w", gatewayService, err)
	}
	if err := g.bus.reload(ctx); err != nil {
		return fmt.Errorf("reload units: %w", err)
	}
	return nil
}

func (g *gateways) purge(ctx context.Context) error {
	installed, err := g.clusters()
	if err != nil {
		return err
	}
	for _, c := range installed {
		if err := g.remove(ctx, c); err != nil {
			return err
		}
	}
	return errors.Join(removeTree(g.layout.gatewayLists()), removeTree(filepath.Dir(g.layout.gatewayProgram())))
}
