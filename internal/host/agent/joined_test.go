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
	for _, c := range []struct {
		name, text string
		want       uint64
		fails      bool
	}{
		{"all is there", "# HELP x y\n" + led + own + applied, 12345678, false},
		{"it knows no leader", "etcd_server_has_leader 0\n" + own + applied, 0, false},
		{"another member answers", led + strings.ReplaceAll(own, "8e9e", "8e9f") + applied, 0, false},
		{"it has applied nothing yet", led + own + "etcd_server_proposals_applied_total 0\n", 0, false},
		{"it is no number", led + own + "etcd_server_proposals_applied_total many\n", 0, true},
		{"it is none that a log has", led + own + "etcd_server_proposals_applied_total -1\n", 0, true},
		{"nothing of etcd", "go_goroutines 3\n", 0, false},
	} {
		if got, err := readApplied(strings.NewReader(c.text), id); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %d, %v", c.name, got, err)
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
		applied, err := askApplied(t.Context(), at, u.Member)
		return err == nil && applied > 0
	})
	if applied, err := askApplied(t.Context(), at, u.Member+1); err != nil || applied != 0 {
		t.Errorf("another member has applied %d, %v", applied, err)
	}
}
