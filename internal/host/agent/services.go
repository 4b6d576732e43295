package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// services is the runtime of a machine booted with systemd: a unit per cluster,
// which systemd starts at boot and after each end, with CKE down as well.
//
// A member's first start has a unit of its own, which founds or joins and is
// started once. It is replaced by the lasting one before the member is sealed.
type services struct {
	layout  layout
	log     *slog.Logger
	reached func(string)
	bus     *bus
	account *account
	// journal is the end of what a process wrote, whole lines.
	journal func(ctx context.Context, pid int64, since time.Time) (string, error)

	mu   sync.Mutex
	said map[string]lastWords // per cluster
}

// serviceRecord is the last start that was asked for. Starts of systemd's own
// leave none.
type serviceRecord struct {
	Boot string       `json:"boot"`
	Unit cluster.Unit `json:"unit"`
}

// bootTarget is what pulls members in at boot.
const bootTarget = "multi-user.target"

// startPoll is how often a start looks whether the process is there.
const startPoll = 10 * time.Millisecond

func newServices(l layout, log *slog.Logger, reached func(string)) *services {
	return &services{
		layout: l, log: log, reached: reached, bus: &bus{}, said: map[string]lastWords{}, journal: readJournal,
		account: &account{memory: filepath.Join(l.host(), "account.json")},
	}
}

func serviceName(cluster string) string { return "etcd-" + cluster + ".service" }

func (s *services) filePath(c string) string {
	return filepath.Join(s.layout.root, "etc/systemd/system", serviceName(c))
}

func (s *services) bootLink(c string) string {
	return filepath.Join(s.layout.root, "etc/systemd/system", bootTarget+".wants", serviceName(c))
}

func (s *services) recordPath(c string) string {
	return filepath.Join(s.layout.state(c), "service.json")
}

// valuesPath keeps what a process was started with, by the hash in its
// environment.
func (s *services) valuesPath(c, hash string) string {
	return filepath.Join(s.layout.state(c), "started-"+hash+".json")
}

func (s *services) owner(ctx context.Context) (*owner, error) { return s.account.get(ctx) }

func (s *services) install(ctx context.Context, u cluster.Unit, sealed bool) error {
	if !sealed {
		return nil // its first start writes it
	}
	return s.keep(ctx, u)
}

// keep writes the lasting unit and lets it start at boot.
func (s *services) keep(ctx context.Context, u cluster.Unit) error {
	u.Founding = nil // that is over, whatever the unit still says
	if err := s.write(ctx, u, true); err != nil {
		return err
	}
	s.reached("service:kept")
	return nil
}

func (s *services) remove(ctx context.Context, cluster string) error {
	name := serviceName(cluster)
	if err := errors.Join(remove(s.bootLink(cluster)), remove(s.filePath(cluster))); err != nil {
		return err
	}
	if err := s.bus.forget(ctx, name); err != nil {
		return fmt.Errorf("forget unit %s: %w", name, err)
	}
	if err := s.bus.reload(ctx); err != nil {
		return fmt.Errorf("reload units: %w", err)
	}
	return errors.Join(remove(s.recordPath(cluster)), s.dropValues(cluster))
}

// write brings the unit's file, its place at boot and systemd's idea of it to
// what they should be. The process is not touched.
func (s *services) write(ctx context.Context, u cluster.Unit, sealed bool) error {
	path, name := s.filePath(u.Cluster), serviceName(u.Cluster)
	if to, err := os.Readlink(path); err == nil {
		return refuse(host.Overridden, "%s is a link to %s: unit %s is masked, or another's", path, to, name)
	}
	f, err := s.file(u, sealed)
	if err != nil {
		return err
	}
	if err := s.keepValues(u, f.hash()); err != nil {
		return err
	}
	if !sealed {
		// Never a unit that founds, and may be started at boot.
		if err := remove(s.bootLink(u.Cluster)); err != nil {
			return err
		}
	}
	text := f.render()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(old) != text {
		if err := writeAtomic(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	s.reached("service:written")
	if sealed {
		if err := s.startAtBoot(u.Cluster); err != nil {
			return err
		}
	}
	return s.load(ctx, name, len(old) > 0 && string(old) != text)
}

// load makes systemd read the file, if it has another in mind: who wrote it may
// have died before. To ask about a unit that is new is to have it read; reading
// all of them anew takes a while.
func (s *services) load(ctx context.Context, name string, replaced bool) error {
	p, err := s.bus.unit(ctx, name)
	if err != nil {
		return fmt.Errorf("look at unit %s: %w", name, err)
	}
	if !mustReload(replaced, p) {
		return nil
	}
	if err := s.bus.reload(ctx); err != nil {
		return fmt.Errorf("reload units: %w", err)
	}
	return nil
}

// startAtBoot makes the link that `systemctl enable` would, and makes it last.
func (s *services) startAtBoot(c string) error {
	link := s.bootLink(c)
	if to, err := os.Readlink(link); err == nil && to == s.filePath(c) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := errors.Join(remove(link), os.Symlink(s.filePath(c), link)); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(link)), syncDir(filepath.Dir(filepath.Dir(link))))
}

func (s *services) file(u cluster.Unit, sealed bool) (serviceFile, error) {
	maxFiles, err := hardFileLimit(1)
	data := s.layout.data(u.Cluster, u.Member)
	return serviceFile{
		unit: u, binary: s.layout.binary(u.Version), sealed: sealed, maxFiles: maxFiles,
		mark: filepath.Join(data, markName),
		paths: paths{
			data: data,
			pki:  func(k host.FileKind) string { return s.layout.file(u.Cluster, k) },
		},
	}, err
}

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

func (s *services) stop(ctx context.Context, c string, m cluster.MemberID, grace time.Duration) error {
	if err := s.stopUnit(ctx, c, grace); err != nil {
		return fmt.Errorf("stop etcd: %w", err)
	}
	for { // who runs there without the unit
		found, ok, err := s.find(c, m)
		if err != nil || !ok {
			return err
		}
		if err := endProcess(ctx, found, grace); err != nil {
			return fmt.Errorf("stop etcd: %w", err)
		}
	}
}

func (s *services) stopUnit(ctx context.Context, c string, grace time.Duration) error {
	name := serviceName(c)
	if down, err := s.down(ctx, name); err != nil || down {
		return err
	}
	result, err := s.bus.stop(ctx, name)
	if err != nil {
		return err
	}
	patience, tick := time.NewTimer(grace), time.NewTicker(20*startPoll)
	defer patience.Stop()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-result:
			result = nil
		case <-patience.C:
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
