package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/host"
)

func TestLastBytesAreWholeLines(t *testing.T) {
	t.Parallel()
	var short, long, one lastBytes
	_, _ = io.WriteString(&short, "torn\nlast")
	for range 100 {
		_, _ = io.WriteString(&long, strings.Repeat("x", 999)+"\n")
	}
	_, _ = io.WriteString(&one, strings.Repeat("x", 2*tailBytes))
	if got := short.lines(); got != "torn\nlast" {
		t.Errorf("%q", got)
	}
	if got := long.lines(); len(got) != 32*1000 || strings.Count(got, strings.Repeat("x", 999)+"\n") != 32 {
		t.Errorf("%d bytes: %.50q…", len(got), got)
	}
	if got := one.lines(); got != "" || len(one.b) != tailBytes {
		t.Errorf("%d of %d bytes", len(got), len(one.b))
	}
}

// A journal that cannot be read keeps nothing else from being told.
func TestJournalThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newServices(layout{root: t.TempDir()}, slog.New(slog.DiscardHandler), func(string) {})
	asked := 0
	s.journal = func(context.Context, int64, time.Time) (string, error) {
		asked++
		return "", errors.New("exit status 1")
	}
	of := look{service: properties{"ExecMainPID": uint32(7), "ExecMainExitTimestampMonotonic": uint64(9)}}
	for range 2 {
		if ms := s.lastWords(t.Context(), testCluster, of); len(ms) != 0 {
			t.Errorf("%v", ms)
		}
	}
	if asked != 1 {
		t.Errorf("the journal was read %d times", asked)
	}
}

// How the member before ended says nothing about the one that is installed now.
func TestTheEndOfTheMemberBeforeIsNotTold(t *testing.T) {
	processOnly(t, "what systemd remembers is dropped with the record")
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	u := sealed(t, b, h)
	if f := facts(t, h, b); f.Unit.Exit == "" {
		t.Fatalf("%+v", f.Unit)
	}
	u.Member++ // as after its data was lost
	must(t, writeJSON(b.agent().layout.unit(u.Cluster), u))
	if f := facts(t, h, b); f.Unit.Exit != "" || f.Unit.Log != "" {
		t.Errorf("%+v", f.Unit)
	}
}

func TestWhatAFileSystemHasAgainstAChangeIsARefusal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(err error) error {
		return &os.PathError{Op: "open", Path: filepath.Join(dir, ".new-123"), Err: err}
	}
	for _, c := range []struct {
		err  error
		kind host.GuardKind
	}{
		{at(unix.ENOSPC), host.NoSpace},
		{errors.Join(at(unix.EDQUOT), errors.New("x")), host.NoSpace},
		{&os.LinkError{Op: "rename", Old: "/a", New: filepath.Join(dir, "b"), Err: unix.EROFS}, host.ReadOnly},
		{at(unix.EIO), host.DiskFails},
		{at(unix.EACCES), ""},
		{&os.PathError{Op: "read", Path: "/proc/7/exe", Err: unix.EIO}, ""},
		{errors.Join(&host.InvalidError{Reason: "x"}, at(unix.EIO)), ""},
		{unix.EIO, ""},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
		r.Header.Set(host.HeaderEpoch, "1")
		newAgent := newBox(t).agent()
		newAgent.verb(maxBody, mutation(func(context.Context, host.Identity, host.ClaimRequest) error { return c.err })).ServeHTTP(w, r)
		if is := w.Code == http.StatusPreconditionFailed; is != (c.kind != "") || is && !strings.Contains(w.Body.String(), `"`+string(c.kind)+`"`) {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), ".new-") && c.kind != "" {
			t.Errorf("it says %s, which is another text each time", w.Body)
		}
	}
}

// A binary that leaves something running, or never stops talking, holds up nothing.
func TestBinaryThatLeavesSomethingRunning(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := cargoOf(t, []byte("#!/bin/sh\nsleep 60 &\nhead -c 1000000 /dev/zero\necho 'etcd Version: "+otherVersion+"'\n"))
	began := time.Now()
	if err := send(t.Context(), inProcess(t, b), c); err == nil || len(err.Error()) > 1000 {
		t.Errorf("it says %v", err)
	}
	if took := time.Since(began); took > 50*time.Second { // what it leaves runs for a minute
		t.Errorf("it took %s", took)
	}
}
