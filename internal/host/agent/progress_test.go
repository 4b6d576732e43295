package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"cke/internal/cluster"
)

// One whose disk hangs goes on hearing its peers, and says that it has a leader.
func TestWhoDoesNotReadThroughTheQuorumTakesNoPart(t *testing.T) {
	t.Parallel()
	const id = cluster.MemberID(0x8e9e05c52164694d)
	for status, want := range map[int]uint64{http.StatusOK: 7, http.StatusServiceUnavailable: 0} {
		var received atomic.Int64
		mux := http.NewServeMux()
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "etcd_server_id{server_id=%q} 1\netcd_server_has_leader 1\netcd_server_proposals_applied_total 7\n"+
				"etcd_network_peer_received_bytes_total{From=\"a\"} %d\n", id, received.Add(1))
		})
		mux.HandleFunc("GET /readyz/linearizable_read", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		srv := httptest.NewServer(mux)
		t.Cleanup(srv.Close)
		var got uint64
		var err error
		eventually(t, "it has had the time to answer", func() (done bool) {
			got, err = new(Agent).takesPart(t.Context(), netip.MustParseAddrPort(srv.Listener.Addr().String()), id)
			return !errors.Is(err, context.DeadlineExceeded)
		})
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("its read is answered with %d: it is said to have applied %d, %v; want %d", status, got, err, want)
		}
	}
}
