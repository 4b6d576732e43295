package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

// purge removes all that CKE put on the machine. It may be killed anywhere and
// called again: what is looked at first goes last, and whom the machine obeys
// last of all, so that nobody else comes in between.
func (a *Agent) purge(ctx context.Context, id host.Identity) error {
	if err := a.admit(ctx, id); err != nil {
		return err
	}
	unlock, err := a.lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(a.stillAdmitted(id), a.inUse()); err != nil {
		return err
	}
	a.log.Info("purge")
	for _, part := range []func() error{
		func() error { return a.purgeGateway(ctx) }, a.purgeClient, a.purgeConfig, a.purgeAside, a.purgeReleases, a.purgeHelpers, a.purgeMemory,
	} {
		if err := part(); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	if err := a.purgeFence(); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	return a.removeEmpty()
}

// lockMachine takes the lock of every cluster the machine knows, and then that
// of whom it obeys: until it is given back nobody begins anything, of a cluster
// that is new here neither.
func (a *Agent) lockMachine(ctx context.Context) (unlock func(), err error) {
	for {
		known, err := a.lockable()
		if err != nil {
			return nil, err
		}
		var held []func()
		unlock = func() {
			for _, u := range held {
				u()
			}
		}
		for _, c := range known {
			var u func()
			if u, err = lock(ctx, filepath.Join(a.layout.locks(), c)); err != nil {
				break
			}
			held = append(held, u)
		}
		var u func()
		if err == nil {
			u, err = a.lockFence(ctx)
		}
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, u)
		now, err := a.lockable()
		if err == nil && slices.Equal(now, known) {
			return unlock, nil
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
}

// lockable are the clusters the machine knows and those that somebody has begun
// something for, sorted.
func (a *Agent) lockable() ([]string, error) {
	clusters, err := a.Clusters()
	if err != nil {
		return nil, err
	}
	locks, err := names(a.layout.locks())
	all := slices.Concat(clusters, locks)
	slices.Sort(all)
	return slices.Compact(all), err
}

// inUse refuses while anything is there that is or may be a member's.
func (a *Agent) inUse() error {
	holds, err := a.holdsData()
	if err != nil {
		return err
	}
	if holds != "" {
		return refuse(host.InUse, "the machine carries a member: %s is there", holds)
	}
	pids, err := ProcessesBelow(a.layout.dataRoot())
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return refuse(host.InUse, "an etcd of the machine's data directory runs (pid %d)", pids[0])
	}
	return nil
}

func (a *Agent) purgeConfig() error {
	err := a.removeBelow(a.layout.config(""))
	a.reached("purge:config")
	return err
}

// purgeAside removes what was set aside, and the directories of clusters that
// hold nothing else. Other names below the data root are not CKE's.
func (a *Agent) purgeAside() error {
	if err := a.removeBelow(a.layout.asideRoot()); err != nil {
		return err
	}
	found, err := names(a.layout.dataRoot())
	if err != nil {
		return err
	}
	for _, c := range found {
		if checkCluster(c) != nil {
			continue // such as lost+found
		}
		for _, dir := range a.layout.asides(c) {
			if err := a.removeBelow(dir); err != nil {
				return err
			}
		}
		if err := removeIfEmpty(a.layout.members(c)); err != nil {
			return err
		}
	}
	a.reached("purge:aside")
	return nil
}

// purgeReleases removes the versions that CKE installed. A releases directory
// outside of the root is shared, and not this node's.
func (a *Agent) purgeReleases() error {
	if !strings.HasPrefix(a.layout.releases, strings.TrimSuffix(a.layout.root, "/")+"/") {
		return nil
	}
	found, err := names(a.layout.releases)
	if err != nil {
		return err
	}
	for _, n := range found {
		dir := filepath.Join(a.layout.releases, n)
		_, err := os.Lstat(filepath.Join(dir, madeName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		if err == nil {
			// The mark goes last: a directory without it would be kept.
			err = errors.Join(a.removeBelow(filepath.Join(dir, "etcd")), a.removeBelow(dir))
		} else if err = nil; dir == a.layout.incoming() {
			err = a.removeBelow(dir)
		}
		if err != nil {
			return err
		}
	}
	a.reached("purge:releases")
	return nil
}

// purgeHelpers removes the helpers that CKE uploaded, the running one too: its
// file lives on until it ends.
func (a *Agent) purgeHelpers() error {
	err := a.removeBelow(a.layout.helpers())
	a.reached("purge:helpers")
	return err
}

// purgeMemory removes what the machine remembers, but for whom it obeys.
func (a *Agent) purgeMemory() error {
	found, err := names(a.layout.host())
	if err != nil {
		return err
	}
	for _, n := range found {
		if strings.HasPrefix(n, "fence.") {
			continue
		}
		if err := a.removeBelow(filepath.Join(a.layout.host(), n)); err != nil {
			return err
		}
	}
	a.reached("purge:memory")
	return nil
}

// purgeFence is called with the fence's lock held.
func (a *Agent) purgeFence() error {
	err := a.removeBelow(a.fencePath())
	a.reached("purge:fence")
	return errors.Join(err, a.removeBelow(a.layout.host()))
}

// removeEmpty removes the directories that CKE made for its own, and below a
// root that is not the machine's the parents as well, where nothing is left in
// them.
func (a *Agent) removeEmpty() error {
	for _, leaf := range []string{
		a.layout.config(""), a.layout.dataRoot(), a.layout.host(), a.layout.releases, a.layout.helpers(),
		a.layout.gatewayLists(), filepath.Dir(a.layout.gatewayProgram()),
	} {
		for dir := leaf; strings.HasPrefix(dir, strings.TrimSuffix(a.layout.root, "/")+"/"); dir = filepath.Dir(dir) {
			own := strings.Contains(strings.TrimPrefix(dir, a.layout.root), "cke")
			if !own && a.layout.root == "/" {
				break
			}
			if err := removeIfEmpty(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeIfEmpty leaves alone what holds anything, is a mount, or is no directory.
func removeIfEmpty(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	err = os.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// removeBelow removes a tree. It removes links, not what they point to, and
// refuses to go through one that leads out of the root.
func (a *Agent) removeBelow(path string) error {
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(a.layout.root)
	if err != nil {
		return err
	}
	if parent != root && !strings.HasPrefix(parent, strings.TrimSuffix(root, "/")+"/") {
		return fmt.Errorf("remove %s: it is in %s, outside of %s", path, parent, root)
	}
	return removeTree(filepath.Join(parent, filepath.Base(path)))
}
