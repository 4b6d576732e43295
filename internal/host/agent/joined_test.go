package agent

import (
	"net/netip"
	"strings"
	"testing"

	"cke/internal/cluster"
)

func TestAMemberSaysHowFarItIs(t *testing.T) {
	t.Parallel()
	const id, own = cluster.MemberID(0x8e9e05c52164694d), `etcd_server_id{server_id="8e9e05c52164694d"} 1` + "\n"
	const led, applied = "etcd_server_has_leader 1\n", "etcd_server_proposals_applied_total 1.2345678e+07\n"
	const heard = `etcd_network_peer_received_bytes_total{From="a"} 2` + "\n" + `etcd_network_peer_received_bytes_total{From="b"} 40` + "\n"
	for _, c := range []struct {
		name, text string
		want       progress
		fails      bool
	}{
		{"all is there", "# HELP x y\n" + led + own + applied, progress{applied: 12345678}, false},
		{"its peers are heard", led + own + applied + heard, progress{applied: 12345678, received: 42}, false},
		{"its log holds more", led + own + applied + "etcd_server_proposals_committed_total 1.2345679e+07\n", progress{applied: 12345678, logged: 12345679}, false},
		{"it is a learner", led + own + applied + "etcd_server_is_learner 1\n", progress{applied: 12345678, learner: true}, false},
		{"it is none any more", led + own + applied + "etcd_server_is_learner 0\n", progress{applied: 12345678}, false},
		{"it knows no leader", "etcd_server_has_leader 0\n" + own + applied, progress{}, false},
		{"another member answers", led + strings.ReplaceAll(own, "8e9e", "8e9f") + applied, progress{}, false},
		{"it has applied nothing yet", led + own + "etcd_server_proposals_applied_total 0\n", progress{}, false},
		{"it is no number", led + own + "etcd_server_proposals_applied_total many\n", progress{}, true},
		{"it is none that a log has", led + own + "etcd_server_proposals_applied_total -1\n", progress{}, true},
		{"nothing of etcd", "go_goroutines 3\n", progress{}, false},
	} {
		if got, err := readProgress(strings.NewReader(c.text), id); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v", c.name, got, err)
		}
	}
}

// What the metrics are called is etcd's to say.
func TestARealMemberSaysHowFarItIs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	at := netip.AddrPortFrom(loopback(u.Address), cluster.MetricsPort)
	eventually(t, "it says that it has applied something", func() bool {
		p, err := askProgress(t.Context(), at, u.Member)
		return err == nil && p.applied > 0 && p.logged >= p.applied
	})
	var other progress
	eventually(t, "it has had the time to answer", func() (done bool) {
		var err error
		other, err = askProgress(t.Context(), at, u.Member+1)
		return err == nil
	})
	if other.applied != 0 {
		t.Errorf("another member has applied %d", other.applied)
	}
	eventually(t, "it reads through the quorum, which is itself", func() bool { return readsThroughQuorum(t.Context(), at) == nil })
}

// One that hears nobody, does not run or is another is not said to take part.
func TestWhoHearsNobodyTakesNoPart(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	no := func(what string, id cluster.MemberID) {
		t.Helper()
		if n, err := h.Progress(t.Context(), u.Cluster, id); n != 0 || err != nil {
			t.Errorf("%s: it has applied %d, %v", what, n, err)
		}
	}
	no("it is not there", u.Member)
	b.install(t, h, u)
	no("it does not run", u.Member)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	no("it is the only one", u.Member)
	no("it is another", u.Member+1)
}

// A voter's word is not wanted; who has just got a log and applied none of it may be
// either.
func TestWhoJoinsIsAskedHowFarItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p    progress
		want bool
	}{
		"nothing has come yet":             {progress{received: 5}, false},
		"its log is there":                 {progress{received: 5, logged: 9}, true},
		"it has applied what it is":        {progress{received: 5, logged: 9, applied: 8, learner: true}, true},
		"it votes":                         {progress{received: 5, logged: 9, applied: 9}, false},
		"it has applied others' beginning": {progress{received: 5, logged: 9, applied: 1}, false},
	} {
		if got := c.p.joins(); got != c.want {
			t.Errorf("%s: it is asked: %v, want %v", name, got, c.want)
		}
	}
}
