package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
)

func (s *services) start(ctx context.Context, u cluster.Unit, sealed bool) error {
	running, err := s.runs(ctx, u.Cluster, u.Member)
	if err != nil || running && !sealed {
		return err
	}
	if err := s.prepare(ctx, u); err != nil {
		return err
	}
	if err := s.write(ctx, u, sealed); err != nil || running {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if err := writeJSON(s.recordPath(u.Cluster), serviceRecord{boot, u}); err != nil {
		return err
	}
	s.reached("start:intent")
	name := serviceName(u.Cluster)
	result, err := s.bus.start(ctx, name)
	if err != nil {
		return fmt.Errorf("start unit %s: %w", name, err)
	}
	s.reached("start:queued")
	s.log.Info("start etcd", "cluster", u.Cluster, "member", u.Member, "version", u.Version, "unit", name)
	return s.awaitProcess(ctx, u.Cluster, result)
}

// prepare gives the member's user its directory and the way to it. Only the
// directory itself is the member's; what is above stays root's.
func (s *services) prepare(ctx context.Context, u cluster.Unit) error {
	o, err := s.owner(ctx)
	if err != nil {
		return err
	}
	if err := o.letPass(s.layout.root, s.layout.members(u.Cluster)); err != nil {
		return err
	}
	data := s.layout.data(u.Cluster, u.Member)
	if err := os.Mkdir(data, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Never with what is in it: a member could have put links there.
	if err := os.Lchown(data, o.uid, o.gid); err != nil {
		return err
	}
	return syncDir(filepath.Dir(data))
}

// awaitProcess returns when the main process runs its program, or with why
// systemd does not start it. That etcd says it is ready is not waited for:
// without quorum it never does.
func (s *services) awaitProcess(ctx context.Context, c string, result <-chan string) error {
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the start of etcd: %w", ctx.Err())
		case r := <-result:
			return s.startResult(ctx, c, r)
		case <-tick.C:
		}
		pid, err := s.bus.mainPID(ctx, serviceName(c))
		if err != nil {
			return err
		}
		if pid > 0 && executed(pid) {
			return nil
		}
		if n%50 == 0 { // the result may have been lost with the connection
			p, err := s.bus.unit(ctx, serviceName(c))
			if err != nil {
				return err
			}
			if state := p.text("ActiveState"); state == "failed" || state == "inactive" {
				return s.startResult(ctx, c, state)
			}
		}
	}
}

// executed says that a process is past systemd's own preparations, and that the
// kernel has loaded its program: until then it has no arguments to be known by.
func executed(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	exe, err := os.Readlink(dir + "/exe")
	if err != nil || strings.HasPrefix(filepath.Base(exe), "systemd") {
		return false
	}
	args, err := os.ReadFile(dir + "/cmdline")
	return err == nil && len(args) > 0
}

func (s *services) startResult(ctx context.Context, c, result string) error {
	if result == "done" {
		return nil
	}
	if result == "dependency" {
		return fmt.Errorf("start etcd: systemd cannot mount what %s lies on", s.layout.members(c))
	}
	st, err := s.state(ctx, c)
	if err != nil || st.running {
		return err
	}
	if st.exit != "" {
		return endedEarly(st)
	}
	return fmt.Errorf("start etcd: systemd says %s", result)
}

func (s *services) stop(ctx context.Context, c string, m cluster.MemberID, g grace) error {
	if err := s.stopUnit(ctx, serviceName(c), g); err != nil {
		return fmt.Errorf("stop etcd: %w", err)
	}
	for { // who runs there without the unit
		found, ok, err := s.find(c, m)
		if err != nil || !ok {
			return err
		}
		if err := endProcess(ctx, found, g); err != nil {
			return fmt.Errorf("stop etcd: %w", err)
		}
	}
}

func (s *services) stopUnit(ctx context.Context, name string, g grace) error {
	if down, err := s.down(ctx, name); err != nil || down {
		return err
	}
	result, err := s.bus.stop(ctx, name)
	if err != nil {
		return err
	}
	patience, cancel := g(ctx)
	defer cancel()
	over, tick := patience.Done(), time.NewTicker(20*startPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-result:
			result = nil
		case <-over:
			over = nil
			if err := s.bus.kill(ctx, name, int32(unix.SIGKILL)); err != nil {
				s.log.Debug("kill unit", "unit", name, "error", err) // it may just have ended
			}
		case <-tick.C:
		}
		if down, err := s.down(ctx, name); err != nil || down {
			return err
		}
	}
}

// down says that a unit has no process and nothing that would start one.
func (s *services) down(ctx context.Context, name string) (bool, error) {
	p, err := s.bus.unit(ctx, name)
	if err != nil {
		return false, fmt.Errorf("look at unit %s: %w", name, err)
	}
	state := p.text("ActiveState")
	return (state == "inactive" || state == "failed") && !p.jobPending(), nil
}

// find is the process that works in a member's data directory. A process may
// call itself what it likes: only root's and the members' own user count.
func (s *services) find(c string, m cluster.MemberID) (process, bool, error) {
	boot, err := bootID()
	if err != nil {
		return process{}, false, err
	}
	return findEtcd(s.layout.data(c, m), boot, ofMembers)
}

// runs waits for a process that systemd is starting just now: it does not say
// yet whose it is.
func (s *services) runs(ctx context.Context, c string, m cluster.MemberID) (bool, error) {
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for known := false; ; {
		if _, ok, err := s.find(c, m); err != nil || ok || known {
			return ok, err
		}
		pid, err := s.bus.mainPID(ctx, serviceName(c))
		if err != nil || pid == 0 {
			return false, err
		}
		if known = executed(pid); known {
			continue // it may be since it was looked for
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}
