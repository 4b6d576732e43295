package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/host"
	"cke/internal/host/agent"
	"cke/internal/store"
)

// stopPatience bounds the daemon's graceful stop.
const stopPatience = 30 * time.Second

// Down stops the daemon and then the members; first the daemon, which would
// start them again. The data stays. When it returns nil nothing below the
// directory runs.
func (o Options) Down(ctx context.Context, out io.Writer) error {
	if err := o.stopDaemon(ctx, out); err != nil {
		return err
	}
	if err := o.stopMembers(ctx, out); err != nil {
		return err
	}
	return o.atRest()
}

// atRest says what still runs below the directory: a daemon that was started
// meanwhile, or a member that its node does not know.
func (o Options) atRest() error {
	if pid, err := o.daemonPID(); err != nil {
		return err
	} else if pid != 0 {
		return fmt.Errorf("cke runs below %s again (pid %d): stop it once more", o.Dir, pid)
	}
	pids, err := agent.ProcessesBelow(o.Dir)
	if err != nil {
		return fmt.Errorf("look for members below %s: %w", o.Dir, err)
	}
	if len(pids) > 0 {
		return fmt.Errorf("etcd runs below %s and no node knows it (pid %s): stop it by hand", o.Dir,
			strings.Trim(fmt.Sprint(pids), "[]"))
	}
	return nil
}

// daemonPID is the daemon's pid, or 0 when none runs. It is read from its data
// directory: a daemon that is still opening its state does not answer yet.
func (o Options) daemonPID() (int, error) {
	cfg, err := o.Config()
	if err != nil {
		return 0, err
	}
	return store.Holder(cfg.DataDir)
}

func (o Options) stopDaemon(ctx context.Context, out io.Writer) error {
	pid, err := o.daemonPID()
	if err != nil {
		return err
	}
	if pid == 0 {
		say(out, "cke does not run\n")
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop cke (pid %d): %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	for !store.Ended(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop cke (pid %d): it does not end: %w", pid, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	say(out, "cke stopped (pid %d)\n", pid)
	return nil
}

func (o Options) stopMembers(ctx context.Context, out io.Writer) error {
	cfg, err := o.Config()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(cfg.Local.Root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list nodes: %w", err)
	}
	var g errgroup.Group
	var telling sync.Mutex
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		g.Go(func() error {
			return stopNode(ctx, filepath.Join(cfg.Local.Root, e.Name()), cfg.Local.Releases, func(cluster string) {
				telling.Lock()
				defer telling.Unlock()
				say(out, "member on %s stopped%s\n", e.Name(), ofCluster(cluster))
			})
		})
	}
	return g.Wait()
}

func ofCluster(name string) string {
	if name == ClusterName {
		return ""
	}
	return " (cluster " + name + ")"
}

// stopNode stops the members of all clusters on one node, and tells of each.
func stopNode(ctx context.Context, root, releases string, stopped func(cluster string)) error {
	a := agent.New(agent.Options{Root: root, Releases: releases})
	clusters, err := a.Clusters()
	if err != nil {
		return fmt.Errorf("list the clusters of the node at %s: %w", root, err)
	}
	var errs []error
	for _, c := range clusters {
		did, err := stopMember(ctx, a, c)
		if did {
			stopped(c)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("stop the member of cluster %s at %s: %w", c, root, err))
		}
	}
	return errors.Join(errs...)
}

// stopMember speaks to the node's agent as whoever it belongs to.
func stopMember(ctx context.Context, a *agent.Agent, name string) (bool, error) {
	var me host.Identity
	h := host.Local(a.Handler(), func() host.Identity { return me })
	f, err := h.Facts(ctx, name, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return false, err
	}
	if f.Unit == nil || !f.Unit.Running {
		return false, nil
	}
	me = host.Identity{StoreID: f.StoreID, Epoch: f.Epoch}
	err = h.StopUnit(ctx, host.StopUnit{Cluster: name, Member: f.Unit.Unit.Member, Grace: time.Second})
	return err == nil, err
}

// Forget stops everything and removes the directory.
func (o Options) Forget(ctx context.Context, out io.Writer) error {
	if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
		say(out, "%s is not there\n", o.Dir)
		return nil
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "seal.key")); err != nil {
		return fmt.Errorf("remove %s: it does not look like a directory of cke dev: %w", o.Dir, err)
	}
	if err := o.Down(ctx, out); err != nil {
		return err
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return fmt.Errorf("remove %s: %w", o.Dir, err)
	}
	say(out, "%s removed\n", o.Dir)
	return nil
}
