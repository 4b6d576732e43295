package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cke/internal/cluster"
)

func TestReadSent(t *testing.T) {
	t.Parallel()
	const id, peer = cluster.MemberID(0x8e9e05c52164694d), cluster.MemberID(0xa)
	const own = `etcd_server_id{server_id="8e9e05c52164694d"} 1` + "\n"
	for _, c := range []struct {
		name, text string
		want       sent
		fails      bool
	}{
		{"both", own + "etcd_network_peer_sent_bytes_total{To=\"a\"} 1.5e+03\netcd_network_peer_sent_failures_total{To=\"a\"} 2\n", sent{1500, 2}, false},
		{"another peer", own + "etcd_network_peer_sent_bytes_total{To=\"b\"} 7\netcd_network_peer_sent_bytes_total{To=\"aa\"} 7\n", sent{}, false},
		{"another member", "etcd_network_peer_sent_bytes_total{To=\"a\"} 7\n", sent{}, true},
		{"it is no number", own + "etcd_network_peer_sent_bytes_total{To=\"a\"} many\n", sent{}, true},
	} {
		got, err := readSent(strings.NewReader(c.text), id, peer)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v", c.name, got, err)
		}
	}
}

// A writer that is stuck counts neither; the other stream goes on with a word now and then.
func TestWhoIsStuckSendsNothing(t *testing.T) {
	t.Parallel()
	const id, peer = cluster.MemberID(0x8e9e05c52164694d), cluster.MemberID(0xa)
	for name, c := range map[string]struct {
		bytes, failures func(asked int64) int64
		want            bool
	}{
		"it sends":                       {func(n int64) int64 { return 100 * n }, never, true},
		"it sends with every other look": {func(n int64) int64 { return 100 * (n / 2) }, never, true},
		"it gives up":                    {never, func(n int64) int64 { return n / 3 }, true},
		"it is stuck":                    {never, never, false},
		"the other stream has a word":    {func(n int64) int64 { return 7 * min(n/4, 1) }, never, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := asked.Add(1)
				fmt.Fprintf(w, "etcd_server_id{server_id=%q} 1\netcd_network_peer_sent_bytes_total{To=%q} %d\netcd_network_peer_sent_failures_total{To=%q} %d\n",
					id, peer, c.bytes(n), peer, c.failures(n))
			}))
			t.Cleanup(srv.Close)
			eventually(t, "it has had the time to answer", func() bool {
				got, err := sendsTo(t.Context(), netip.MustParseAddrPort(srv.Listener.Addr().String()), id, peer, sendsWithin)
				if err == nil && got && !c.want {
					t.Error("it sends")
				}
				return err == nil && (got || !c.want) // a busy machine may have looked too seldom
			})
		})
	}
}

func never(int64) int64 { return 0 }

// However rare a leader's heartbeats are, two words come soon after each other unless one
// of its streams is stuck: then all that comes is the other's own word.
func TestALineIsJudgedByItsHeartbeats(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		args  map[string]string
		beat  time.Duration // 0: it is stuck
		phase time.Duration // of the streams' own words
		slow  time.Duration // that each answer takes
		moves bool
	}{
		"as etcd sets it":       {beat: 100 * ms, moves: true},
		"half a second":         {args: beats("500"), beat: 500 * ms, phase: 1600 * ms, moves: true},
		"more":                  {args: beats("700"), beat: 700 * ms, phase: 1600 * ms, moves: true},
		"a second":              {args: beats("1000"), beat: time.Second, phase: 1600 * ms, moves: true},
		"two":                   {args: beats("2000"), beat: 2 * time.Second, phase: 200 * ms, moves: true},
		"three":                 {args: beats("3000"), beat: 3 * time.Second, phase: 900 * ms, moves: true},
		"stuck":                 {phase: 300 * ms},
		"stuck, and slow beats": {args: beats("4000"), phase: 300 * ms},
		"stuck, slow answers":   {args: beats("4000"), phase: 300 * ms, slow: 200 * ms},
		"no number":             {args: beats("1s"), phase: 300 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			within := sendsFor(c.args)
			if within < time.Second || within > sendsLongest {
				t.Errorf("it is watched for %s", within)
			}
			var l line
			moves := false
			for at := time.Duration(0); at <= within && !moves; at += sendsAgain + c.slow {
				words := int64((at-c.phase+wordEvery)/wordEvery) * 20
				if c.beat > 0 {
					words += int64(at/c.beat) * 40
				}
				start := time.Time{}.Add(time.Hour)
				moves = l.moves(start.Add(at), start.Add(at+c.slow), sent{bytes: float64(words)})
			}
			if moves != c.moves {
				t.Errorf("it moves: %t, want %t", moves, c.moves)
			}
		})
	}
}

func beats(interval string) map[string]string {
	return map[string]string{"heartbeat-interval": interval}
}

// What the metrics are called is etcd's to say: a member whose peer is not there asks for
// its vote again and again.
func TestARealMemberSaysWhatItSends(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	away := cluster.URL(netip.MustParseAddr("127.0.0.2"), 1)
	u.Founding.Peers["cp2"] = away
	b.install(t, h, u)
	peer := cluster.BootstrapMemberID(u.Founding.Token, away)
	if sends, err := h.Sends(t.Context(), u.Cluster, u.Member, peer); sends || err != nil {
		t.Errorf("it does not run and sends %t, %v", sends, err)
	}
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	eventually(t, "it sends to its peer", func() bool {
		sends, err := h.Sends(t.Context(), u.Cluster, u.Member, peer)
		must(t, err)
		return sends
	})
	if sends, err := h.Sends(t.Context(), u.Cluster, u.Member, peer+1); sends || err != nil {
		t.Errorf("it sends to nobody: %t, %v", sends, err)
	}
	if sends, err := h.Sends(t.Context(), u.Cluster, u.Member+1, peer); sends || err != nil {
		t.Errorf("another sends: %t, %v", sends, err)
	}
}
