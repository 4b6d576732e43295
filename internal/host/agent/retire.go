package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// retireUnit goes in an order that is safe to stop anywhere: the data leaves
// first, the seal last, so that in between the guard refuses every start.
func (a *Agent) retireUnit(ctx context.Context, id host.Identity, req host.MemberRequest) error {
	if err := checkMember(req.Cluster, req.Member); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, req.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.retirable(ctx, req.Cluster, req.Member); err != nil {
		return err
	}
	if err := a.moveAside(req.Cluster, req.Member); err != nil {
		return err
	}
	a.reached("retire:moved")
	u, installed, err := a.readUnit(req.Cluster)
	if err != nil {
		return err
	}
	if installed && u.Member == req.Member {
		if err := errors.Join(a.runtime.remove(ctx, req.Cluster), remove(a.layout.unit(req.Cluster))); err != nil {
			return err
		}
		a.reached("retire:removed")
	}
	if err := remove(a.layout.seal(req.Cluster, req.Member)); err != nil {
		return err
	}
	return a.prune(req.Cluster)
}

func (a *Agent) retirable(ctx context.Context, c string, m cluster.MemberID) error {
	runs, err := a.runtime.runs(ctx, c, m)
	if err != nil {
		return err
	}
	if runs {
		return refuse(host.StillRunning, "member %s of cluster %s runs", m, c)
	}
	s, known, err := a.readSeal(c, m)
	if err != nil || !known {
		return err
	}
	where, err := a.notMounted(s)
	if err == nil && where != "" {
		return refuse(host.NotMounted, "%s is not mounted: the data of member %s is not here to be moved aside", where, m)
	}
	return err
}

// moveAside renames a member's directory to a name with the time. It does
// nothing when the directory is not there.
func (a *Agent) moveAside(c string, m cluster.MemberID) error {
	from := a.layout.data(c, m)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, dir := range a.layout.asides(c) {
		if err := mkdirs(dir); err != nil {
			return err
		}
		to, err := freeName(dir, m, a.now())
		if err != nil {
			return err
		}
		err = os.Rename(from, to)
		if errors.Is(err, unix.EXDEV) {
			continue
		}
		if err != nil {
			return fmt.Errorf("move data aside: %w", err)
		}
		a.log.Info("move data aside", "cluster", c, "member", m, "to", to)
		return errors.Join(syncDir(dir), syncDir(filepath.Dir(from)))
	}
	return fmt.Errorf("move data aside: no place on the file system of %s", from)
}

// clean removes what is no member's: certificates, and the agent's memory of
// the cluster.
func (a *Agent) clean(ctx context.Context, id host.Identity, req host.ClusterRequest) error {
	if err := checkCluster(req.Cluster); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, req.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	if _, installed, err := a.readUnit(req.Cluster); err != nil {
		return err
	} else if installed {
		return refuse(host.InUse, "a unit of cluster %s is installed", req.Cluster)
	}
	members, err := a.memberDirs(req.Cluster)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return refuse(host.InUse, "data of member %s of cluster %s is in place", members[0], req.Cluster)
	}
	a.log.Info("clean", "cluster", req.Cluster)
	for _, dir := range []string{a.layout.config(req.Cluster), a.layout.state(req.Cluster)} {
		if err := removeTree(dir); err != nil {
			return err
		}
	}
	// Left in place when it holds data that was set aside.
	err = os.Remove(a.layout.members(req.Cluster))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	err := syncDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
