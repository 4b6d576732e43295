package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"cke/internal/cluster"
)

func TestWhatAMemberHasReceivedSaysWhenItHeardItsPeers(t *testing.T) {
	t.Parallel()
	const id, other = cluster.MemberID(7), cluster.MemberID(8)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type said struct {
		ms    int
		bytes float64
	}
	for name, c := range map[string]struct {
		before []said
		of     cluster.MemberID
		now    said
		want   bool
	}{
		"nothing was known":                        {nil, id, said{0, 10}, false},
		"more came since":                          {[]said{{0, 10}}, id, said{5, 11}, true},
		"nothing came since":                       {[]said{{0, 10}}, id, said{900, 10}, false},
		"something came, and was seen then":        {[]said{{0, 10}, {300, 20}}, id, said{310, 20}, true},
		"what came came too long ago":              {[]said{{0, 10}, {300, 20}, {700, 20}}, id, said{1001, 20}, false},
		"it came since somebody looked in vain":    {[]said{{0, 10}, {300, 20}, {700, 20}}, id, said{1400, 21}, true},
		"it came since, but who knows when":        {[]said{{0, 10}}, id, said{1001, 20}, false},
		"another process of it, which heard less":  {[]said{{0, 10}}, id, said{100, 3}, false},
		"another process of it, which heard since": {[]said{{0, 10}, {100, 3}}, id, said{200, 4}, true},
		"another member":                           {[]said{{0, 10}}, other, said{5, 11}, false},
	} {
		var h hearing
		at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
		for _, s := range c.before {
			h.heard(id, at(s.ms), s.bytes)
		}
		if got := h.heard(c.of, at(c.now.ms), c.now.bytes); got != c.want {
			t.Errorf("%s: it counts as heard: %v, want %v", name, got, c.want)
		}
	}
}

func TestOfWhoIsAskedNoMoreNothingIsKept(t *testing.T) {
	t.Parallel()
	var h hearing
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 1000 {
		h.heard(cluster.MemberID(i%10+1), start.Add(time.Duration(i)*10*time.Millisecond), float64(i/100))
	}
	h.heard(99, start.Add(time.Hour), 1)
	if len(h.had) != 1 || len(h.had[99]) != 1 {
		t.Errorf("an hour later %d members are remembered", len(h.had))
	}
}

// says is a member that has received so many bytes more each time it is asked.
func says(t *testing.T, id cluster.MemberID, grows func(asked int64) int64) (netip.AddrPort, *atomic.Int64) {
	t.Helper()
	var asked, received atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "etcd_server_id{server_id=%q} 1\netcd_server_has_leader 1\netcd_server_is_learner 1\netcd_server_proposals_applied_total 7\n"+
			"etcd_network_peer_received_bytes_total{From=\"a\"} %d\n", id, received.Add(grows(asked.Add(1))))
	}))
	t.Cleanup(srv.Close)
	return netip.MustParseAddrPort(srv.Listener.Addr().String()), &asked
}

func whoever(progress) bool { return true }

// A learner whose peers fell silent says that it has a leader for ever.
func TestAMemberThatHearsNobodyIsNotBelieved(t *testing.T) {
	t.Parallel()
	const id = cluster.MemberID(0x8e9e05c52164694d)
	for _, grows := range []int64{0, 1} {
		var h hearing
		at, _ := says(t, id, func(int64) int64 { return grows })
		got, err := h.askProgress(t.Context(), at, id, whoever)
		if want := uint64(7 * grows); got.applied != want || err != nil {
			t.Errorf("%d bytes came: it is said to have applied %d, %v; want %d", grows, got.applied, err, want)
		}
	}
}

// Who is asked again and again is not listened to each time.
func TestAMemberThatWasHeardAMomentAgoIsAskedOnce(t *testing.T) {
	t.Parallel()
	const id = cluster.MemberID(0x8e9e05c52164694d)
	var h hearing
	at, asked := says(t, id, func(int64) int64 { return 0 })
	h.heard(id, time.Now().Add(time.Hour), -1) // a moment ago, however long this test takes
	for n := range int64(2) {
		if p, err := h.askProgress(t.Context(), at, id, whoever); p.applied != 7 || err != nil || asked.Load() != n+1 {
			t.Fatalf("asked %d times it is said to have applied %d, %v", asked.Load(), p.applied, err)
		}
	}
}

// A voter is asked by nobody, and not listened to.
func TestWhoIsNotWantedIsNotListenedTo(t *testing.T) {
	t.Parallel()
	const id = cluster.MemberID(0x8e9e05c52164694d)
	var h hearing
	at, asked := says(t, id, func(int64) int64 { return 0 })
	p, err := h.askProgress(t.Context(), at, id, func(p progress) bool { return !p.learner })
	if p != (progress{}) || err != nil || asked.Load() != 1 {
		t.Errorf("asked %d times it says %v, %v", asked.Load(), p, err)
	}
}
