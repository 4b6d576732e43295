package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask asks until there is an answer, as a keeper does: a busy machine may be late.
func ask(t *testing.T, s *session, k key) {
	t.Helper()
	for {
		_, _, err := s.list(t.Context(), k)
		var late net.Error
		if err == nil {
			return
		}
		if !errors.As(err, &late) || !late.Timeout() {
			t.Errorf("ask about %s: %v", k.name, err)
			return
		}
	}
}

// counted is a connection that is counted while it is open.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// Hundreds of Secrets that are asked about together need one connection.
func TestManyQuestionsMakeFewConnections(t *testing.T) {
	t.Parallel()
	s := sessionWith(t, falseServer(t, func(http.ResponseWriter, *http.Request) {}))
	var open atomic.Int64
	dial := s.transport.DialContext
	s.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if n := open.Add(1); n > knocks {
			t.Errorf("%d connections are made at once", n)
		}
		conn, err := dial(ctx, network, address)
		closed := sync.OnceFunc(func() { open.Add(-1) })
		if err != nil {
			closed()
			return nil, err
		}
		return &counted{conn, closed}, nil
	}
	var all sync.WaitGroup
	for i := range secretsBurst {
		all.Go(func() { ask(t, s, key{secretKind(), "shop", fmt.Sprint("s", i)}) })
	}
	all.Wait()
	if open.Load() == 0 {
		t.Error("none was made")
	}
}

// While an API server lets no more in, a Secret waits as long as a question may, and
// what clients are sent by does not wait behind it.
func TestWhoKnocksInVainHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	s := sessionWith(t, falseServer(t, func(http.ResponseWriter, *http.Request) {}))
	for range knocks {
		s.doors <- struct{}{}
	}
	secret := key{secretKind(), "shop", "s"}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, _, err := s.list(ctx, secret)
		waits <- err
	}()
	ask(t, s, sliceKey())
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("a Secret was asked about: %v", err)
	}
	late, over := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer over()
	if _, _, err := s.list(late, secret); !errors.Is(err, context.DeadlineExceeded) || slow(err) {
		t.Errorf("who got no connection in time tells of a slow answer: %v", err)
	}
	for range knocks {
		<-s.doors
	}
	ask(t, s, secret)
	if n := len(s.doors); n != 0 {
		t.Errorf("%d still knock", n)
	}
}
