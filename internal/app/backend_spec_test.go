package app

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cke/internal/config"
)

// TestOneMachineIsNeverTwoClusters: of many specs with one address that come at the same
// moment one is taken.
func TestOneMachineIsNeverTwoClusters(t *testing.T) {
	t.Parallel()
	b := newBackend(t, config.None)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			name := fmt.Sprintf("c%d", i)
			// One that is not routed (RFC 5737).
			spec := fmt.Sprintf("name: %s\nnodes:\n  - {address: 192.0.2.1, hostname: %s, control_plane: true, user: cke}\n", name, name)
			switch _, err := b.PutSpec(t.Context(), name, []byte(spec)); {
			case err == nil:
				taken.Add(1)
			case !strings.Contains(err.Error(), "belongs to cluster"):
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	names, err := b.store.Clusters(t.Context())
	must(t, err)
	if taken.Load() != 1 || len(names) != 1 {
		t.Errorf("%d were taken, the clusters are %v", taken.Load(), names)
	}
}
