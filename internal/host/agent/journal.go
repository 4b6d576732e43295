package agent

import (
	"context"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// journalTimeout bounds one look at the journal: it is part of a machine's facts,
// which must come in time even when the journal hangs.
const journalTimeout = 5 * time.Second

// lastWords are what the last process of a cluster said, read once per end.
type lastWords struct {
	pid      int64
	at       int64 // when it ended, by the monotonic clock
	messages messages
}

// lastWords reads the journal once for each process that ended: facts are asked
// for often. They are there to be shown; a journal that cannot be read keeps
// nothing else from being told.
func (s *services) lastWords(ctx context.Context, c string, of look) messages {
	now := lastWords{pid: of.service.number("ExecMainPID"), at: of.service.number("ExecMainExitTimestampMonotonic")}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.said[c]; known.pid == now.pid && known.at == now.at {
		return known.messages
	}
	started := time.UnixMicro(of.service.number("ExecMainStartTimestamp"))
	text, err := s.journal(ctx, now.pid, started)
	if err != nil {
		s.log.Warn("read the journal", "cluster", c, "unit", serviceName(c), "error", err)
	}
	if now.messages = distil(text); now.at > 0 && ctx.Err() == nil {
		s.said[c] = now
	}
	return now.messages
}

// readJournal is the end of what a process wrote, and of why systemd could not
// run its program. It goes by the pid: of a process that ended at once the
// journal does not always know the unit's invocation any more.
func readJournal(ctx context.Context, pid int64, since time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	// What a process wrote is in the journal only after a moment.
	if err := run(ctx, "journalctl", "--sync"); err != nil && ctx.Err() != nil {
		return "", err
	}
	cmd, err := systemProgram(ctx, "journalctl", "--quiet", "--no-pager", "--boot", "--output=cat", "--lines=200",
		"--since=@"+strconv.FormatInt(since.Unix(), 10), "_PID="+strconv.FormatInt(pid, 10))
	if err != nil {
		return "", err
	}
	var out lastBytes
	cmd.Stdout, cmd.WaitDelay = &out, time.Second
	err = cmd.Run()
	return out.lines(), err
}

// logs is journalctl's output; closing it or the end of ctx ends the program.
func (s *services) logs(ctx context.Context, c string, lines int, follow bool) (io.ReadCloser, error) {
	args := []string{"--quiet", "--no-pager", "--output=short-iso", "--unit=" + serviceName(c), "--lines=" + strconv.Itoa(lines)}
	if follow {
		args = append(args, "--follow")
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := systemProgram(ctx, "journalctl", args...)
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return &programOutput{Reader: out, cmd: cmd, cancel: cancel}, nil
}

// programOutput is what a program writes until it ends or is closed.
type programOutput struct {
	io.Reader
	cmd    *exec.Cmd
	cancel context.CancelFunc
}

// Close ends the program; how it took that does not matter.
func (p *programOutput) Close() error {
	p.cancel()
	_ = p.cmd.Wait()
	return nil
}
