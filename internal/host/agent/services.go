package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

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

func (s *services) filePath(c string) string { return s.pathOf(serviceName(c)) }
func (s *services) bootLink(c string) string { return s.linkOf(serviceName(c)) }

// pathOf is where a unit's file lies, linkOf what starts it at boot.
func (s *services) pathOf(name string) string {
	return filepath.Join(s.layout.root, "etc/systemd/system", name)
}

func (s *services) linkOf(name string) string {
	return filepath.Join(s.layout.root, "etc/systemd/system", bootTarget+".wants", name)
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

// installed reads by its hash which unit the lasting file is of. What somebody has put
// in its place is told otherwise (overridden).
func (s *services) installed(u cluster.Unit, sealed bool) (bool, error) {
	path := s.filePath(u.Cluster)
	if _, err := os.Readlink(path); !sealed || err == nil {
		return true, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	u.Founding = nil
	return strings.Contains(string(text), unitVar+"="+serviceFile{unit: u}.hash()), nil
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
		if err := s.startAtBoot(name); err != nil {
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
func (s *services) startAtBoot(name string) error {
	link := s.linkOf(name)
	if to, err := os.Readlink(link); err == nil && to == s.pathOf(name) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := errors.Join(remove(link), os.Symlink(s.pathOf(name), link)); err != nil {
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
