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
)

// Hundreds of Secrets that are asked about together need one connection.
func TestManyQuestionsMakeFewConnections(t *testing.T) {
	t.Parallel()
	s := sessionWith(t, falseServer(t, func(http.ResponseWriter, *http.Request) {}))
	var made atomic.Int64
	dial := s.transport.DialContext
	s.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		made.Add(1)
		return dial(ctx, network, address)
	}
	var all sync.WaitGroup
	for i := range secretsBurst {
		all.Go(func() {
			if _, _, err := s.list(t.Context(), key{secretKind(), "shop", fmt.Sprint("s", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n < 1 || n > knocks {
		t.Errorf("%d connections were made", n)
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
	if _, _, err := s.list(t.Context(), sliceKey()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("a Secret was asked about: %v", err)
	}
	for range knocks {
		<-s.doors
	}
	if _, _, err := s.list(t.Context(), secret); err != nil {
		t.Error(err)
	}
	if n := len(s.doors); n != 0 {
		t.Errorf("%d still knock", n)
	}
}
