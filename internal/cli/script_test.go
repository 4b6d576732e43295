package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cke/internal/api"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite golden files")
	testscript.Main(m, map[string]func(){"ckecli": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(Main(ctx, os.Args[1:], testEnv()))
	}})
}

func update() bool { return flag.Lookup("update").Value.String() == "true" }

// testEnv is that of a real process; its configuration has the server's
// address on its first line.
func testEnv() Env {
	return Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		Now:        func() time.Time { return start().Add(time.Second) },
		Version:    "0.0.1-test",
		ConfigPath: "etc/config.yml",
		LoadConfig: func(path string) (Endpoint, error) {
			text, err := os.ReadFile(path)
			server, _, _ := strings.Cut(string(text), "\n")
			return Endpoint{Server: server}, err
		},
	}
}

type memoryKey struct{}

// TestScripts runs the real command line against the real API server on a
// real unix socket.
func TestScripts(t *testing.T) {
	snapshot, err := os.ReadFile("testdata/snapshot.db")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: update(),
		Setup: func(e *testscript.Env) error {
			backend := newMemory()
			backend.snapshot = snapshot
			e.Values[memoryKey{}] = backend
			socket := filepath.Join(e.WorkDir, "s")
			e.Setenv("CKE_SERVER", "unix://"+socket)
			return serveScript(e, backend, socket)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mood":    mood,
			"mode":    mode,
			"code":    code,
			"expires": expires,
			"called":  called,
		},
	})
}

func serveScript(e *testscript.Env, backend *memory, socket string) error {
	l, err := api.ListenUnix(socket)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	srv := api.HTTPServer(api.NewServer(backend, api.Options{Version: "1.2.3", Log: log, Lead: backend.lead}), log)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	e.Defer(func() {
		if err := errors.Join(srv.Close(), <-done); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	})
	return nil
}

// mood TEXT: what becomes of a spec from now on.
func mood(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value(memoryKey{}).(*memory).set(strings.Join(args, " "))
}

// code N ARGS...: ckecli ARGS ends with exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ckecli ARGS...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if want := args[0]; want != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// mode FILE MODE: the file's permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// expires FILE DURATION: how long the certificate lives.
func expires(ts *testscript.TestScript, _ bool, args []string) {
	block, _ := pem.Decode([]byte(ts.ReadFile(args[0])))
	if block == nil {
		ts.Fatalf("%s holds no PEM", args[0])
	}
	c, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	if got := c.NotAfter.Sub(c.NotBefore).String(); got != args[1] {
		ts.Fatalf("it lives %s, want %s", got, args[1])
	}
}

// called: the last request came from this very user.
func called(ts *testscript.TestScript, _ bool, _ []string) {
	m := ts.Value(memoryKey{}).(*memory)
	m.mu.Lock()
	defer m.mu.Unlock()
	want := "uid " + strconv.Itoa(os.Getuid())
	if len(m.callers) == 0 || !strings.HasPrefix(m.callers[len(m.callers)-1], want) {
		ts.Fatalf("callers %q, want %q", m.callers, want)
	}
}
