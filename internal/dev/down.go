package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/api"
	"cke/internal/host"
	"cke/internal/host/agent"
)

// Down stops the daemon and then the members; first the daemon, which would
// start them again. The data stays.
func (o Options) Down(ctx context.Context, out io.Writer) error {
	if err := o.stopDaemon(ctx, out); err != nil {
		return err
	}
	return o.stopMembers(ctx, out)
}

func (o Options) stopDaemon(ctx context.Context, out io.Writer) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	leader, err := c.Leader(ctx)
	var unreachable *api.UnreachableError
	if errors.As(err, &unreachable) {
		say(out, "cke does not run\n")
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask cke for its pid: %w", err)
	}
	if err := syscall.Kill(leader.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop cke (pid %d): %w", leader.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for syscall.Kill(leader.PID, 0) == nil && !zombie(leader.PID) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop cke (pid %d): it does not end: %w", leader.PID, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	say(out, "cke stopped (pid %d)\n", leader.PID)
	return nil
}

// zombie: ended, but its parent has not asked for it yet.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == ')' {
			return i+2 < len(b) && b[i+2] == 'Z'
		}
	}
	return false
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
	for _, e := range entries {
		g.Go(func() error {
			stopped, err := stopMember(ctx, filepath.Join(cfg.Local.Root, e.Name()), cfg.Local.Releases)
			if stopped {
				say(out, "member on %s stopped\n", e.Name())
			}
			return err
		})
	}
	return g.Wait()
}

// stopMember speaks to the node's agent as whoever it belongs to.
func stopMember(ctx context.Context, root, releases string) (bool, error) {
	var me host.Identity
	h := host.Local(agent.New(agent.Options{Root: root, Releases: releases}).Handler(), func() host.Identity { return me })
	f, err := h.Facts(ctx, ClusterName, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return false, fmt.Errorf("ask the node at %s: %w", root, err)
	}
	if f.Unit == nil || !f.Unit.Running {
		return false, nil
	}
	me = host.Identity{StoreID: f.StoreID, Epoch: f.Epoch}
	err = h.StopUnit(ctx, host.StopUnit{Cluster: ClusterName, Member: f.Unit.Unit.Member, Grace: time.Second})
	if err != nil {
		return false, fmt.Errorf("stop the member at %s: %w", root, err)
	}
	return true, nil
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
