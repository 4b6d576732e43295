package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// processes is the runtime without an init system: etcd runs in a session of
// its own, outlives the daemon, and is known by pid and start time.
//
// The record is written twice: without a pid before the fork, so that a daemon
// killed after it leaves a hint to look for the process, and with it after.
type processes struct {
	layout  layout
	log     *slog.Logger
	reached func(string)

	mu       sync.Mutex
	children map[string]child // the last one started here, per cluster
}

// child is a process whose end this daemon sees.
type child struct {
	process
	reaped chan struct{} // closed when it was waited for and its end is written
}

// procRecord is the last process that was started for a cluster.
type procRecord struct {
	process              // without a pid: about to be started
	Unit    cluster.Unit `json:"unit"`
	LogFrom int64        `json:"log_from"` // where its part of the log begins
	// Again is how many processes with these settings were there before it, in this boot.
	Again int `json:"again,omitempty"`
}

// exitRecord is how a process ended, as far as its parent lived to see it.
type exitRecord struct {
	process
	Text string `json:"text"`
}

func newProcesses(l layout, log *slog.Logger, reached func(string)) *processes {
	return &processes{layout: l, log: log, reached: reached, children: map[string]child{}}
}

func (p *processes) recordPath(c string) string {
	return filepath.Join(p.layout.state(c), "process.json")
}
func (p *processes) exitPath(c string) string { return filepath.Join(p.layout.state(c), "exit.json") }

// install has nothing to do: flags are derived from the unit at each start.
func (p *processes) install(context.Context, cluster.Unit, bool) error { return nil }

func (p *processes) installed(cluster.Unit, bool) (bool, error) { return true, nil }

// keep has nothing to do: nothing starts a member without being asked.
func (p *processes) keep(context.Context, cluster.Unit) error { return nil }

// owner is the agent itself.
func (p *processes) owner(context.Context) (*owner, error) { return nil, nil }

// remove forgets the last process. Its log stays.
func (p *processes) remove(_ context.Context, cluster string) error {
	return errors.Join(remove(p.recordPath(cluster)), remove(p.exitPath(cluster)))
}

// last reads the record and whether its process runs now.
func (p *processes) last(cluster string) (rec procRecord, running bool, err error) {
	known, err := readJSON(p.recordPath(cluster), &rec)
	if err != nil || !known {
		return procRecord{}, false, err
	}
	boot, err := bootID()
	if err != nil {
		return procRecord{}, false, err
	}
	if rec.PID == 0 {
		found, ok, err := findEtcd(p.layout.data(cluster, rec.Unit.Member), boot, anyone)
		if ok {
			rec.process = found
		}
		return rec, ok, err
	}
	now, alive, err := identify(rec.PID, boot)
	return rec, alive && now == rec.process, err
}

// find is the process that works in a member's data directory.
func (p *processes) find(cluster string, m cluster.MemberID) (process, bool, error) {
	rec, running, err := p.last(cluster)
	if err != nil {
		return process{}, false, err
	}
	if running && rec.Unit.Member == m {
		return rec.process, true, nil
	}
	boot, err := bootID()
	if err != nil {
		return process{}, false, err
	}
	return findEtcd(p.layout.data(cluster, m), boot, anyone)
}

func (p *processes) runs(_ context.Context, cluster string, m cluster.MemberID) (bool, error) {
	_, ok, err := p.find(cluster, m)
	return ok, err
}

func (p *processes) start(_ context.Context, u cluster.Unit, _ bool) error {
	found, running, err := p.find(u.Cluster, u.Member)
	if err != nil {
		return err
	}
	if running {
		return p.adopt(u, found)
	}
	again, err := p.settle(u)
	if err != nil {
		return err
	}
	files, err := p.openLogs(u.Cluster)
	if err != nil {
		return err
	}
	defer files.close()
	rec := procRecord{Unit: u, LogFrom: files.from, Again: again}
	if err := writeJSON(p.recordPath(u.Cluster), rec); err != nil {
		return err
	}
	p.reached("start:intent")
	cmd := p.command(u, files)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start etcd %s: %w", u.Version, err)
	}
	p.reached("start:forked")
	if err := p.record(rec, cmd); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	p.reached("start:recorded")
	p.log.Info("start etcd", "cluster", u.Cluster, "member", u.Member, "version", u.Version, "pid", cmd.Process.Pid)
	return nil
}

// adopt completes the record of a process that a killed daemon left behind.
func (p *processes) adopt(u cluster.Unit, found process) error {
	var rec procRecord
	known, err := readJSON(p.recordPath(u.Cluster), &rec)
	if err != nil || known && rec.process == found {
		return err
	}
	if !known || rec.Unit.Member != u.Member {
		rec = procRecord{Unit: u}
	}
	rec.process = found
	p.log.Info("adopt etcd", "cluster", u.Cluster, "member", u.Member, "pid", found.PID)
	return writeJSON(p.recordPath(u.Cluster), rec)
}

func (p *processes) command(u cluster.Unit, files logFiles) *exec.Cmd {
	// Descriptors that this process itself inherited are not close-on-exec.
	// Best effort: without close_range (Linux 5.11) only those stay open.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	cmd := exec.Command( //nolint:gosec // every argument is derived from a checked unit
		p.layout.binary(u.Version), argv(u, paths{
			data: p.layout.data(u.Cluster, u.Member),
			pki:  func(k host.FileKind) string { return p.layout.file(u.Cluster, k) },
			log:  p.logPath(u.Cluster),
		})...)
	cmd.Env = env(u)
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be this process's own
	}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = files.output, files.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// record writes down who was started and begins to wait for its end.
func (p *processes) record(rec procRecord, cmd *exec.Cmd) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	// A child that ended at once is a zombie, and still has its start time.
	if rec.process, _, err = stat(cmd.Process.Pid, boot); err != nil {
		return fmt.Errorf("identify etcd: %w", err)
	}
	if err := writeJSON(p.recordPath(rec.Unit.Cluster), rec); err != nil {
		return err
	}
	c := child{rec.process, make(chan struct{})}
	p.mu.Lock()
	p.children[rec.Unit.Cluster] = c
	p.mu.Unlock()
	go p.reap(rec.Unit.Cluster, c, cmd)
	return nil
}

func (p *processes) reap(cluster string, c child, cmd *exec.Cmd) {
	defer close(c.reaped)
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.log.Error("wait for etcd", "cluster", cluster, "pid", c.PID, "error", err)
		return
	}
	text := cmd.ProcessState.String()
	p.log.Info("etcd ends", "cluster", cluster, "pid", c.PID, "exit", text)
	if _, err := os.Stat(p.recordPath(cluster)); err != nil {
		return // retired meanwhile: nobody asks any more
	}
	if err := writeJSON(p.exitPath(cluster), exitRecord{c.process, text}); err != nil {
		p.log.Error("record the end of etcd", "cluster", cluster, "error", err)
	}
}

// settle lets the last process's end be written before the next one begins, and says
// how many with the same settings there were.
func (p *processes) settle(u cluster.Unit) (again int, err error) {
	rec, running, err := p.last(u.Cluster)
	if err != nil {
		return 0, err
	}
	if !running {
		p.awaitReaped(u.Cluster, rec.process)
	}
	boot, err := bootID()
	switch {
	case err != nil, rec.Unit.Member != u.Member, !rec.Unit.SameSettings(u):
		return 0, err
	case rec.PID == 0: // it was never begun
		return rec.Again, nil
	case rec.Boot != boot:
		return 0, nil
	}
	return rec.Again + 1, nil
}

// awaitReaped waits until the end of a process that has ended is written, if
// it was a child of this daemon's.
func (p *processes) awaitReaped(cluster string, who process) {
	p.mu.Lock()
	c, ok := p.children[cluster]
	p.mu.Unlock()
	if ok && who == c.process {
		<-c.reaped
	}
}

func (p *processes) stop(ctx context.Context, cluster string, m cluster.MemberID, g grace) error {
	for {
		found, ok, err := p.find(cluster, m)
		if err != nil || !ok {
			return err
		}
		if err := endProcess(ctx, found, g); err != nil {
			return fmt.Errorf("stop etcd: %w", err)
		}
		p.awaitReaped(cluster, found)
	}
}

// endProcess returns when a process is gone: SIGTERM, SIGKILL after the grace.
func endProcess(ctx context.Context, who process, g grace) error {
	h, ok, err := who.open()
	if err != nil || !ok {
		return err
	}
	defer func() { _ = h.close() }() // nothing was written
	if err := h.signal(unix.SIGTERM); err != nil {
		return err
	}
	patience, cancel := g(ctx)
	defer cancel()
	if err := h.wait(patience); err == nil || ctx.Err() != nil {
		return err
	}
	if err := h.signal(unix.SIGKILL); err != nil {
		return err
	}
	return h.wait(ctx)
}
