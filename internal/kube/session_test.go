package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSecretsHoldNobodyUp: hundreds of Secrets are brought up to date one after
// another, and who is sent to a dead member does not wait until that is done.
func TestSecretsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	server := falseServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	})
	l, err := enter(t.Context(), kubeconfigFor(t, server), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(t.Context(), l.config, func() time.Time { return time.Time{} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	const secrets = 10 * secretsBurst
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var done atomic.Int64
	many := make(chan struct{}) // as many as may be sent at once have been
	for i := range secrets {
		all.Go(func() {
			k := key{secretKind(), "shop", fmt.Sprint("s", i)}
			if _, err := s.apply(ctx, k, body{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": k.name}}, false); err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
			} else if done.Add(1) == secretsBurst {
				close(many)
			}
		})
	}
	<-many
	k := sliceKey()
	if _, err := s.apply(t.Context(), k, body{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": map[string]any{"name": k.name}}, false); err != nil {
		t.Fatal(err)
	}
	if n := done.Load(); n == secrets {
		t.Errorf("the slice came after all %d Secrets", n)
	}
}
