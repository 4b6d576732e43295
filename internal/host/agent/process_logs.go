package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// logPoll is how often a followed log is looked at.
const logPoll = 200 * time.Millisecond

// logs reads etcd's own log and what it said outside of it, such as a panic.
func (p *processes) logs(ctx context.Context, cluster string, lines int, follow bool) (io.ReadCloser, error) {
	r, w := io.Pipe()
	tails := []*logTail{{path: p.logPath(cluster)}, {path: p.stderrPath(cluster)}}
	stop := context.AfterFunc(ctx, func() { _ = r.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		err := writeTails(ctx, w, tails, lines, follow)
		_ = w.CloseWithError(err) // never fails
	}()
	return r, nil
}

func writeTails(ctx context.Context, w io.Writer, tails []*logTail, lines int, follow bool) error {
	defer func() {
		for _, t := range tails {
			t.close()
		}
	}()
	for _, t := range tails {
		if err := t.seek(lines, follow); err != nil {
			return err
		}
	}
	if !follow {
		return lastOf(w, tails)
	}
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		for _, t := range tails {
			if err := t.copy(w); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lastOf writes what the tails held when they were looked at, and nothing that came since.
func lastOf(w io.Writer, tails []*logTail) error {
	for _, t := range tails {
		if err := t.last(w); err != nil {
			return err
		}
	}
	return nil
}

// logTail is one file that may not be there yet, and is replaced when it has
// grown.
type logTail struct {
	path string
	file *os.File
	size int64 // when its last lines were looked for
}

func (t *logTail) close() {
	if t.file != nil {
		_ = t.file.Close() // nothing was written
		t.file = nil
	}
}

// open is done when the file is open or not there.
func (t *logTail) open() error {
	if t.file != nil {
		return nil
	}
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	t.file = f
	return err
}

// seek goes to before the last lines. One that is not ended yet counts where it is
// waited for.
func (t *logTail) seek(lines int, waits bool) error {
	if err := t.open(); err != nil || t.file == nil {
		return err
	}
	size, err := t.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	t.size = size
	const chunk = 64 << 10
	seen, at := -1, size // the end of the last line does not begin one
	for at > 0 {
		n := min(chunk, at)
		b := make([]byte, n)
		if _, err := t.file.ReadAt(b, at-n); err != nil {
			return err
		}
		if at == size && b[n-1] != '\n' && waits {
			seen = 0 // a line that is not ended yet
		}
		for i := n - 1; i >= 0; i-- {
			if b[i] != '\n' {
				continue
			}
			if seen++; seen == lines {
				_, err := t.file.Seek(at-n+i+1, io.SeekStart)
				return err
			}
		}
		at -= n
	}
	_, err = t.file.Seek(0, io.SeekStart)
	if lines == 0 {
		_, err = t.file.Seek(size, io.SeekStart)
	}
	return err
}

// last writes the whole lines from there to the file's end as it was then.
func (t *logTail) last(w io.Writer) error {
	if t.file == nil {
		return nil
	}
	at, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(t.file, t.size-at))
	if end := bytes.LastIndexByte(b, '\n') + 1; err == nil && end > 0 {
		_, err = w.Write(b[:end])
	}
	return err
}

// copy writes the whole lines that have come, of the file that was open and of
// the one that has its name now.
func (t *logTail) copy(w io.Writer) error {
	for {
		if err := t.open(); err != nil || t.file == nil {
			return err
		}
		replaced, err := t.replaced()
		if err != nil {
			return err
		}
		if err := t.copyOpen(w, replaced); err != nil || !replaced {
			return err
		}
		t.close()
	}
}

func (t *logTail) copyOpen(w io.Writer, whole bool) error {
	b, err := io.ReadAll(t.file)
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if whole {
		end = len(b)
	}
	if _, err := t.file.Seek(int64(end-len(b)), io.SeekCurrent); err != nil {
		return err
	}
	if end == 0 {
		return nil
	}
	_, err = w.Write(b[:end])
	return err
}

// replaced says that another file has the name now, or this one begins anew.
func (t *logTail) replaced() (bool, error) {
	open, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // between two files
	}
	return err == nil && !os.SameFile(open, now), err
}
