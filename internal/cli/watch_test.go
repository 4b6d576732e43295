package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
)

// serveMemory serves a backend with one cluster and returns an environment for it.
func serveMemory(t *testing.T, stdout, stderr io.Writer) (*memory, Env) {
	t.Helper()
	return serveLed(t, nil, stdout, stderr)
}

// serveLed is serveMemory by a daemon that does not lead all the time.
func serveLed(t *testing.T, lead api.Lead, stdout, stderr io.Writer) (*memory, Env) {
	t.Helper()
	m := newMemory()
	if _, err := m.PutSpec(t.Context(), "x", []byte("name: main\n")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := api.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	srv := api.HTTPServer(api.NewServer(m, api.Options{Log: log, Lead: lead}), log)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return m, Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Now: start,
		Getenv: func(name string) string {
			if name == "CKE_SERVER" {
				return "unix://" + path
			}
			return ""
		},
	}
}

func TestWatchEndsWellWhenInterrupted(t *testing.T) {
	for _, args := range [][]string{{"status", "-watch"}, {"status", "--watch", "--output=json"}} {
		r, w := io.Pipe()
		var errs bytes.Buffer
		m, env := serveMemory(t, w, &errs)
		ctx, interrupt := context.WithCancel(t.Context())
		code := make(chan int, 1)
		go func() { code <- Main(ctx, args, env); w.Close() }()
		out := bufio.NewReader(r)
		if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, "main") {
			t.Fatalf("%v: %q %v", args, line, err)
		}
		go func() { m.set("block") }() // one more change
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatalf("%v: the change is not shown: %v", args, err)
			}
			if strings.Contains(line, "hostIsUnknown") {
				break
			}
		}
		interrupt()
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Fatal(err)
		}
		if got := <-code; got != exitDone || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, %s", args, got, errs.String())
		}
	}
}

func TestInterruptedCommandFails(t *testing.T) {
	var out, errs bytes.Buffer
	_, env := serveMemory(t, &out, &errs)
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if code := Main(ctx, []string{"plan"}, env); code != exitFailed || errs.String() != "error: interrupted\n" {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

// A result that could not be written was not delivered.
func TestFullStdoutFails(t *testing.T) {
	var errs bytes.Buffer
	_, env := serveMemory(t, nil, &errs)
	env.Stdout = fullDisk{}
	if code := Main(t.Context(), []string{"plan"}, env); code != exitFailed || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestWaitingOutlivesAHandOver: who was told that the change is taken waits for it, though
// the daemon that took it stops at once; who begins to watch is told.
func TestWaitingOutlivesAHandOver(t *testing.T) {
	for _, c := range []struct {
		args  []string
		taken int32 // so many requests are answered before it stops
		code  int
	}{
		{[]string{"cluster", "set", "-", "-wait"}, 1, exitDone},
		{[]string{"status", "-watch", "--cluster", "main"}, 0, exitUnreachable},
	} {
		var asked atomic.Int32
		var out, errs bytes.Buffer
		_, env := serveLed(t, func(ctx context.Context) (context.Context, func(), error) {
			if n := asked.Add(1); n > c.taken && n <= c.taken+2 {
				return nil, nil, api.NotLeader("this cke is stopping", "ask another one", "")
			}
			return ctx, func() {}, nil
		}, &out, &errs)
		env.Stdin = strings.NewReader("name: main\n# changed\n")
		if code := Main(t.Context(), c.args, env); code != c.code {
			t.Errorf("%v: exit code %d, want %d\n%s%s", c.args, code, c.code, &out, &errs)
		}
	}
}

func TestWaitingEndsWhenInterrupted(t *testing.T) {
	r, w := io.Pipe()
	var errs bytes.Buffer
	m, env := serveMemory(t, w, &errs)
	m.set("never")
	env.Stdin = strings.NewReader("name: main\n# changed\n")
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- Main(ctx, []string{"cluster", "set", "-", "-wait"}, env); w.Close() }()
	out := bufio.NewScanner(r)
	for out.Scan() && !strings.Contains(out.Text(), "learnerCatchesUp") {
	}
	interrupt()
	select {
	case got := <-code:
		if got != exitFailed || errs.String() != "error: interrupted\n" {
			t.Errorf("exit code %d, %s", got, errs.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
}
