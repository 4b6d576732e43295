package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func sessionWith(t *testing.T, server *httptest.Server) *session {
	t.Helper()
	l, err := enter(t.Context(), kubeconfigFor(t, server), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(t.Context(), l.config, func() time.Time { return time.Time{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// TestSecretsHoldNobodyUp: hundreds of Secrets are brought up to date one after
// another, and who is sent to a dead member does not wait until that is done.
func TestSecretsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	server := falseServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.Copy(w, r.Body); err != nil && r.Context().Err() == nil { // else it was sent twice, or given up
			t.Error(err)
		}
	})
	s := sessionWith(t, server)
	const secrets = 10 * secretsBurst
	ctx, cancel := context.WithCancel(t.Context())
	// A busy machine may not answer in time; then it is asked again, as a keeper does.
	bring := func(k key, b body) bool {
		for {
			_, err := s.apply(ctx, k, b, false)
			if err == nil || ctx.Err() != nil {
				return err == nil
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
				return false
			}
		}
	}
	slice := func() {
		k := sliceKey()
		if !bring(k, body{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": map[string]any{"name": k.name}}) {
			t.Error("the slice is not brought there")
		}
	}
	slice() // the connection is there, and not made a hundred times
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var done atomic.Int64
	many := make(chan struct{}) // as many as may be sent at once have been
	for i := range secrets {
		all.Go(func() {
			k := key{secretKind(), "shop", fmt.Sprint("s", i)}
			if bring(k, body{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": k.name}}) && done.Add(1) == secretsBurst {
				close(many)
			}
		})
	}
	<-many
	slice()
	if n := done.Load(); n == secrets {
		t.Errorf("the slice came after all %d Secrets", n)
	}
}
