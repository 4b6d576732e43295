package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// sealPoll is how often a first start looks for the WAL.
const sealPoll = 10 * time.Millisecond

// begin opens a mutating call: it admits the caller, takes the cluster's lock,
// and admits again, for a newer leader may have come while it waited, or the
// machine may have been purged, which waits for nobody it does not know of.
func (a *Agent) begin(ctx context.Context, id host.Identity, cluster string) (unlock func(), err error) {
	if err := a.admit(ctx, id); err != nil {
		return nil, err
	}
	path := filepath.Join(a.layout.locks(), cluster)
	for {
		f, err := lockedFile(ctx, path)
		if err != nil {
			return nil, err
		}
		if err := a.admit(ctx, id); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if isAt(f, path) {
			return func() { _ = f.Close() }, nil // closing gives the lock back
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func (a *Agent) readUnit(c string) (u cluster.Unit, installed bool, err error) {
	installed, err = readJSON(a.layout.unit(c), &u)
	return u, installed, err
}

func (a *Agent) installUnit(ctx context.Context, id host.Identity, u cluster.Unit) error {
	if err := checkUnit(u); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, u.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	old, installed, err := a.readUnit(u.Cluster)
	if err != nil {
		return err
	}
	if !installed {
		if err := a.allowBeside(ctx); err != nil {
			return err
		}
	}
	if installed && old.Member != u.Member {
		if err := a.vacated(ctx, old); err != nil {
			return err
		}
	}
	if err := a.allowFounding(u); err != nil {
		return err
	}
	s, _, err := a.readSeal(u.Cluster, u.Member)
	if err != nil {
		return err
	}
	if installed && old.Equal(u) {
		if is, err := a.runtime.installed(u, s.Sealed); err != nil || is {
			return err
		}
	}
	if err := a.versions.knows(ctx, u.Version, u.ExtraArgs); err != nil {
		return err
	}
	a.log.Info("install unit", "cluster", u.Cluster, "member", u.Member, "version", u.Version)
	return a.replaceUnit(ctx, u, s.Sealed)
}

// replaceUnit has the runtime follow first: what it keeps is what the machine starts.
// Killed in between, the two differ, which is told (cluster.UnitState.Unfinished). Where
// there is no room for the unit's own file the runtime is left alone.
func (a *Agent) replaceUnit(ctx context.Context, u cluster.Unit, sealed bool) error {
	next, err := stageJSON(a.layout.unit(u.Cluster), u)
	if err != nil {
		return err
	}
	if err := a.runtime.install(ctx, u, sealed); err != nil {
		return errors.Join(err, next.drop())
	}
	return next.put()
}

// vacated refuses to replace the unit of another member that is still here.
func (a *Agent) vacated(ctx context.Context, old cluster.Unit) error {
	runs, err := a.runtime.runs(ctx, old.Cluster, old.Member)
	if err != nil {
		return err
	}
	if runs {
		return refuse(host.OtherMember, "member %s of cluster %s still runs here", old.Member, old.Cluster)
	}
	d, err := a.inspect(old.Cluster, old.Member)
	if err != nil {
		return err
	}
	if d.used {
		return refuse(host.OtherMember, "the data of member %s of cluster %s is still in place", old.Member, old.Cluster)
	}
	return nil
}

// installed reads the unit and holds it against the member the caller means.
func (a *Agent) installed(c string, m cluster.MemberID) (cluster.Unit, error) {
	u, ok, err := a.readUnit(c)
	if err != nil {
		return cluster.Unit{}, err
	}
	if !ok {
		return cluster.Unit{}, refuse(host.NoUnit, "no unit of cluster %s is installed", c)
	}
	if u.Member != m {
		return cluster.Unit{}, refuse(host.OtherMember, "the unit of cluster %s is member %s, not %s", c, u.Member, m)
	}
	return u, nil
}

func (a *Agent) startUnit(ctx context.Context, id host.Identity, req host.MemberRequest) error {
	if err := checkMember(req.Cluster, req.Member); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, req.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := a.installed(req.Cluster, req.Member)
	if err != nil {
		return err
	}
	s, known, err := a.readSeal(u.Cluster, u.Member)
	if err != nil {
		return err
	}
	runs, err := a.runtime.runs(ctx, u.Cluster, u.Member)
	if err != nil {
		return err
	}
	if !runs {
		if err := a.versions.has(ctx, u.Version); err != nil {
			return err
		}
	}
	if !runs || !known || !s.Sealed {
		if s, err = a.allowStart(u); err != nil {
			return err
		}
	}
	if s.Sealed {
		u.Founding = nil // that is over, whatever the unit still says
		return a.runtime.start(ctx, u, true)
	}
	return a.firstStart(ctx, id, u, s)
}

// firstStart runs the member until it has its WAL, and seals it. Killed at any
// point, the next call goes on from there.
func (a *Agent) firstStart(ctx context.Context, id host.Identity, u cluster.Unit, s seal) error {
	if err := a.runtime.start(ctx, u, false); err != nil {
		return err
	}
	if err := a.awaitWAL(ctx, id, u); err != nil {
		return err
	}
	a.reached("seal:wal")
	if err := a.finishSeal(ctx, u, s); err != nil {
		return err
	}
	st, err := a.runtime.state(ctx, u.Cluster)
	if err == nil && !st.running {
		return endedEarly(st)
	}
	return err
}

func (a *Agent) awaitWAL(ctx context.Context, id host.Identity, u cluster.Unit) error {
	tick := time.NewTicker(sealPoll)
	defer tick.Stop()
	for {
		// In this order: a process that is gone may have left a WAL.
		st, err := a.runtime.state(ctx, u.Cluster)
		if err != nil {
			return err
		}
		wal, err := hasWAL(a.layout.data(u.Cluster, u.Member))
		if err != nil || wal {
			return err
		}
		if !st.running {
			return endedEarly(st)
		}
		if err := a.stillAdmitted(id); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the member's first WAL: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// endedEarly has the same text for the same failure: whoever repeats the start
// can tell that it is no news.
func endedEarly(st procState) error {
	if st.cause == "" {
		return fmt.Errorf("etcd ends right after its start: %s", st.exit)
	}
	return fmt.Errorf("etcd ends right after its start: %s: %s", st.exit, st.cause)
}

func (a *Agent) stopUnit(ctx context.Context, id host.Identity, req host.StopUnit) error {
	if err := errors.Join(checkMember(req.Cluster, req.Member), checkGrace(req.Grace)); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, req.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	u, installed, err := a.readUnit(req.Cluster)
	if err != nil {
		return err
	}
	if installed && u.Member != req.Member {
		return refuse(host.OtherMember, "the unit of cluster %s is member %s, not %s", req.Cluster, u.Member, req.Member)
	}
	a.log.Info("stop etcd", "cluster", req.Cluster, "member", req.Member, "grace", req.Grace)
	g := atMost(req.Grace)
	if installed {
		g = a.forRequests(u, req.Grace)
	}
	return a.runtime.stop(ctx, req.Cluster, req.Member, g)
}

func (a *Agent) waitUnit(ctx context.Context, req host.WaitRequest) error {
	if err := checkCluster(req.Cluster); err != nil {
		return err
	}
	return a.runtime.wait(ctx, req.Cluster, req.Running)
}
