package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/plan"
)

// mute is a socket that a process holds which is stopped: connections to it succeed.
func mute(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mute.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody was let in
	return path
}

// TestADaemonThatIsStoppedIsNotWaitedFor: it counts as one that is not there, and of
// several the next one is asked, which gets the request once.
func TestADaemonThatIsStoppedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	path := mute(t)
	stopped := unixClient("unix://"+path, path, 50*time.Millisecond)
	_, err := stopped.Plan(t.Context(), "main")
	var away *UnreachableError
	if !errors.As(err, &away) || !strings.Contains(err.Error(), "it is there, but does not answer within 50ms") || !strings.Contains(away.Hint, "stopped or hangs") {
		t.Errorf("a stopped daemon: %v", err)
	}
	calls := 0
	_, live := serve(t, asked{plan: func(context.Context) (plan.Plan, error) {
		calls++
		return plan.Plan{Cluster: "main"}, nil
	}})
	stopped.others = []*Client{live}
	for range 2 {
		if p, err := stopped.Plan(t.Context(), "main"); err != nil || p.Cluster != "main" {
			t.Errorf("of two, one stopped: %+v, %v", p, err)
		}
	}
	if calls != 2 {
		t.Errorf("two requests arrived %d times", calls)
	}
}

// TestWhoGivesUpDoesNotWaitForTheGreeting: ^C ends it at once.
func TestWhoGivesUpDoesNotWaitForTheGreeting(t *testing.T) {
	t.Parallel()
	path := mute(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := unixClient("unix://"+path, path, time.Hour).Plan(ctx, "main"); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}
