package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"cke/internal/record"
)

// led serves a backend behind a gate on a socket of its own.
func led(t *testing.T, b Backend, lead Lead) (server string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	srv := HTTPServer(NewServer(b, Options{Log: log, Lead: lead, Machine: "mgmt1"}), log)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // it says that it was closed
	}()
	t.Cleanup(func() {
		_ = srv.Close() // every listener and connection is the test's
		<-done
	})
	return "unix://" + socket
}

func follows(context.Context) (context.Context, func(), error) {
	return nil, nil, NotLeader("b leads", "ask b", "https://b")
}

func TestAFollowerAnswersFromTheStoreOnly(t *testing.T) {
	reads := asked{
		stateBackup: func(w io.Writer) error { _, err := w.Write([]byte("state")); return err },
		follow:      func(_ context.Context, _ int, fn func(record.Record) error) error { return fn(record.Record{}) },
	}
	c := newTestClient(t, led(t, reads, follows), ClientTLS{})
	if err := c.StateBackup(t.Context(), io.Discard); err != nil {
		t.Errorf("state: %v", err)
	}
	if err := c.FollowHistory(t.Context(), "main", 1, func(record.Record) error { return nil }); err != nil {
		t.Errorf("history: %v", err)
	}
	for what, err := range map[string]error{
		"status": second(c.Status(t.Context(), "main")),
		"spec":   second(c.PutSpec(t.Context(), "f", nil)),
		"watch":  c.WatchStatus(t.Context(), "main", func(Status) error { return nil }),
		"pause":  c.Pause(t.Context(), "main", ""),
		"clean":  c.CleanNode(t.Context(), "main", "cp1", false),
	} {
		var e *Error
		if !errors.As(err, &e) || *e != (Error{Code: CodeNotLeader, Message: "b leads", Hint: "ask b", Leader: "https://b"}) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestARequestEndsWithTheLead(t *testing.T) {
	lead, depose := context.WithCancel(t.Context())
	left := make(chan struct{})
	begun := make(chan struct{})
	backend := asked{watch: func(ctx context.Context, fn func(Status) error) error {
		if who := Caller(ctx); len(who) < 10 || who[len(who)-9:] != " on mgmt1" {
			t.Errorf("the caller is %q", who)
		}
		if err := fn(Status{}); err != nil {
			return err
		}
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}
	c := newTestClient(t, led(t, backend, func(ctx context.Context) (context.Context, func(), error) {
		ctx, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(lead, func() { cancel(ErrLeadLost) })
		return ctx, func() { stop(); cancel(nil); close(left) }, nil
	}), ClientTLS{})
	ended := make(chan error, 1)
	go func() { ended <- c.WatchStatus(t.Context(), "main", func(Status) error { return nil }) }()
	<-begun
	depose()
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Fatal("the request goes on")
	}
	if err := <-ended; err == nil {
		t.Error("a cut stream ended well")
	}
}

// What was cut off may have been done, so the client must not ask elsewhere.
func TestAChangeThatWasCutOffIsNotSentElsewhere(t *testing.T) {
	status := func(ctx context.Context, _ string) (Status, error) {
		<-ctx.Done()
		return Status{}, ctx.Err()
	}
	cut := led(t, asked{status: status}, func(ctx context.Context) (context.Context, func(), error) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(ErrLeadLost)
		return ctx, func() {}, nil
	})
	other := led(t, asked{}, nil) // which fails the test when it is asked
	_, err := newTestClient(t, cut+","+other, ClientTLS{}).Status(t.Context(), "main")
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeFailed || e.Hint == "" {
		t.Errorf("got %v", err)
	}
}

// A stream only reads, so that one which was cut off before it began is asked for elsewhere.
func TestAStreamThatWasCutOffIsAskedForElsewhere(t *testing.T) {
	cut := led(t, asked{watch: func(ctx context.Context, _ func(Status) error) error {
		<-ctx.Done()
		return ctx.Err()
	}}, func(ctx context.Context) (context.Context, func(), error) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(ErrLeadLost)
		return ctx, func() {}, nil
	})
	err := newTestClient(t, cut, ClientTLS{}).WatchStatus(t.Context(), "main", func(Status) error { return nil })
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeNotLeader || e.Hint == "" {
		t.Errorf("got %v", err)
	}
	enough := errors.New("enough")
	next := led(t, asked{watch: func(_ context.Context, fn func(Status) error) error { return fn(Status{}) }}, nil)
	err = newTestClient(t, cut+","+next, ClientTLS{}).WatchStatus(t.Context(), "main", func(Status) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("with another: %v", err)
	}
}

func TestClientAsksOneDaemonAfterAnother(t *testing.T) {
	answers := asked{status: func(context.Context, string) (Status, error) { return Status{Cluster: "main"}, nil }}
	refuses := asked{status: func(context.Context, string) (Status, error) { return Status{}, Refused("no", "") }}
	nowhere := "unix://" + filepath.Join(t.TempDir(), "none")
	follower, leader := led(t, asked{}, follows), led(t, answers, nil)
	refusing := led(t, refuses, nil)
	for _, c := range []struct {
		servers string
		code    string // empty: it succeeds
	}{
		{nowhere + "," + follower + ", " + leader, ""},
		{leader + "," + nowhere, ""},
		{nowhere + "," + follower, CodeNotLeader},
		{follower + "," + nowhere, CodeNotLeader},
		{refusing + "," + leader, CodeRefused}, // its answer counts
	} {
		client := newTestClient(t, c.servers, ClientTLS{})
		for range 2 {
			_, err := client.Status(t.Context(), "main")
			var e *Error
			if errors.As(err, &e) && e.Code == c.code || c.code == "" && err == nil {
				continue
			}
			t.Errorf("%s: %v", c.servers, err)
		}
	}
	_, err := newTestClient(t, nowhere+","+nowhere, ClientTLS{}).Status(t.Context(), "main")
	var away *UnreachableError
	if !errors.As(err, &away) || away.Hint == "" {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := NewClient(nowhere+",", ClientTLS{}); err == nil {
		t.Error("an empty server is taken")
	}
}
