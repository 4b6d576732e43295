package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"testing"
)

// What is followed arrives at once, and the backend hears of a client's leaving
// while there is nothing to tell.
func TestLogsAreFollowed(t *testing.T) {
	said, tell := io.Pipe()
	left := make(chan struct{})
	_, client := serve(t, asked{logs: func(ctx context.Context, c, node string, n int, follow bool) (io.ReadCloser, error) {
		if c != "main" || node != "cp1" || n != 7 || !follow {
			t.Errorf("asked for %s %s %d %v", c, node, n, follow)
		}
		context.AfterFunc(ctx, func() {
			_ = tell.CloseWithError(ctx.Err()) // never fails
			close(left)
		})
		return said, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := client.Logs(ctx, "main", "cp1", 7, true)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(r)
	for _, want := range []string{"one\n", "two\n"} {
		go func() { _, _ = io.WriteString(tell, want) }()
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	cancel()
	<-left
	if _, err := io.ReadAll(lines); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestLogsAreBounded(t *testing.T) {
	_, client := serve(t, asked{logs: func(context.Context, string, string, int, bool) (io.ReadCloser, error) {
		return nil, NotFound("there is no node cp9", "ckecli node list")
	}})
	for n, code := range map[int]string{-1: CodeInvalid, 10_001: CodeInvalid, 10_000: CodeNotFound} {
		_, err := client.Logs(t.Context(), "main", "cp9", n, false)
		var e *Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%d lines: got %v, want %s", n, err, code)
		}
	}
}
