package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// gone says that a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// handle is a pidfd (pidfd_open(2)): it stays with its process when the pid is
// used again, works for processes that are not children, and becomes readable
// when the process has ended with all its threads.
type handle struct{ file *os.File }

// open takes hold of a process; false when it is gone or another has its pid.
func (p process) open() (handle, bool, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if gone(err) {
		return handle{}, false, nil
	}
	if err != nil {
		return handle{}, false, fmt.Errorf("open pidfd of %d: %w", p.PID, err)
	}
	h := handle{os.NewFile(uintptr(fd), "pidfd")}
	// Only now is it certain whom the descriptor names.
	now, alive, err := identify(p.PID, p.Boot)
	if err != nil || !alive || now != p {
		return handle{}, false, errors.Join(err, h.close())
	}
	return h, true, nil
}

// awaitEnd returns when a process has ended.
func (p process) awaitEnd(ctx context.Context) error {
	h, ok, err := p.open()
	if err != nil || !ok {
		return err
	}
	defer func() { _ = h.close() }() // nothing was written
	return h.wait(ctx)
}

func (h handle) close() error { return h.file.Close() }

// signal does nothing to a process that has ended.
func (h handle) signal(sig unix.Signal) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if gone(sent) {
		return nil
	}
	return sent
}

// wait returns nil when the process has ended, and ctx's error before. It
// sleeps in the runtime's poller: no thread, no polling.
func (h handle) wait(ctx context.Context) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	err = untilDone(ctx, h.file, func() error {
		var polled error
		err := conn.Read(func(fd uintptr) bool {
			var ready bool
			ready, polled = readable(int(fd))
			return ready || polled != nil
		})
		return errors.Join(err, polled)
	})
	if err != nil {
		return fmt.Errorf("wait for a process to end: %w", err)
	}
	return nil
}

// untilDone runs a read of f that ctx can interrupt. A deadline is the only way
// to wake the poller from outside.
func untilDone(ctx context.Context, f *os.File, read func() error) error {
	for {
		if err := f.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
		err := read()
		stop()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// An earlier wait's interruption came late.
	}
}

func readable(fd int) (bool, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}
