package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// How much of a log's end is looked through.
const tailBytes = 32 << 10

func (p *processes) state(_ context.Context, cluster string) (procState, error) {
	rec, running, err := p.last(cluster)
	if err != nil {
		return procState{}, err
	}
	if running {
		return procState{running: true, who: rec.process, started: &rec.Unit, asked: rec.Unit, again: rec.Again}, nil
	}
	if rec.Unit.Cluster == "" {
		return procState{}, nil
	}
	p.awaitReaped(cluster, rec.process)
	exit, err := p.exit(cluster, rec)
	if err != nil {
		return procState{}, err
	}
	said, err := p.said(cluster, rec.LogFrom)
	return procState{exit: exit, cause: said.cause(), log: said.summary(), ended: rec.Unit.Member, asked: rec.Unit, again: rec.Again}, err
}

func (p *processes) exit(cluster string, rec procRecord) (string, error) {
	var seen exitRecord
	known, err := readJSON(p.exitPath(cluster), &seen)
	if err != nil {
		return "", err
	}
	boot, err := bootID()
	switch {
	case err != nil:
		return "", err
	case rec.PID == 0:
		return "it was about to be started", nil
	case known && seen.process == rec.process:
		return seen.Text, nil
	case rec.Boot != boot:
		return "the machine was restarted", nil
	}
	return "ended unseen", nil
}

// wait sleeps on the process, or, when none runs, on its record.
func (p *processes) wait(ctx context.Context, cluster string, running bool) error {
	if !running {
		return p.awaitStart(ctx, cluster)
	}
	rec, ok, err := p.last(cluster)
	if err != nil || !ok {
		return err
	}
	return rec.awaitEnd(ctx)
}

func (p *processes) awaitStart(ctx context.Context, cluster string) error {
	if err := mkdirs(p.layout.state(cluster)); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch for a start: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer func() { _ = f.Close() }() // nothing was written
	if _, err := unix.InotifyAddWatch(fd, p.layout.state(cluster), unix.IN_MOVED_TO); err != nil {
		return fmt.Errorf("watch for a start: %w", err)
	}
	// Which event came does not matter: each is a reason to look again.
	events := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		if _, ok, err := p.last(cluster); err != nil || ok {
			return err
		}
		if err := untilDone(ctx, f, func() error { _, err := f.Read(events); return err }); err != nil {
			return fmt.Errorf("wait for a start: %w", err)
		}
	}
}

func (p *processes) logPath(c string) string {
	return filepath.Join(p.layout.state(c), "log", "etcd.log")
}
func (p *processes) stderrPath(c string) string {
	return filepath.Join(p.layout.state(c), "log", "stderr.log")
}

// logFiles is where a new process writes.
type logFiles struct {
	output *os.File // what it says outside its log, such as a panic
	from   int64    // where its part of the log begins
}

func (f logFiles) close() { _ = f.output.Close() } // the child has it; nothing was written here

// openLogs begins a new file for stdout and stderr and keeps the previous one.
// etcd bounds its own log while it runs.
func (p *processes) openLogs(cluster string) (logFiles, error) {
	path := p.stderrPath(cluster)
	if err := mkdirs(filepath.Dir(path)); err != nil {
		return logFiles{}, err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		if err := os.Rename(path, path+".1"); err != nil {
			return logFiles{}, err
		}
	}
	var from int64
	if info, err := os.Stat(p.logPath(cluster)); err == nil {
		from = info.Size()
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return logFiles{out, from}, err
}

// said is what the last process told at its end.
func (p *processes) said(cluster string, from int64) (messages, error) {
	log, err := tailFile(p.logPath(cluster), from)
	if err != nil {
		return nil, err
	}
	out, err := tailFile(p.stderrPath(cluster), 0)
	return append(distil(log), distil(out)...), err
}

func tailFile(path string, from int64) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if from > info.Size() {
		from = 0 // rotated since
	}
	start := max(from, info.Size()-tailBytes)
	b, err := io.ReadAll(io.NewSectionReader(f, start, info.Size()-start))
	if start > from { // in the middle of a line
		if i := strings.IndexByte(string(b), '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(b), err
}
