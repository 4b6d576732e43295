package plan

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// TestCheckNode: each measure against its limit, on either side of it.
func TestCheckNode(t *testing.T) {
	type M = cluster.Measured
	n := cluster.Node{Hostname: "cp1", Address: netip.MustParseAddr("10.0.0.1"), ControlPlane: true}
	p := cluster.Node{Hostname: "cp2", Address: netip.MustParseAddr("10.0.0.2"), ControlPlane: true}
	spec := cluster.Spec{Name: "main", Nodes: []cluster.Node{n, p}}.WithDefaults()
	for _, c := range []struct {
		name  string
		spoil func(m *M)
		want  string // what is not ok
	}{
		{"fit", func(*M) {}, ""},
		{"a clock at the limit", func(m *M) { m.Skew = time.Second + m.Unsure }, ""},
		{"a clock ahead", func(m *M) { m.Skew = 1200 * time.Millisecond }, "clock fail|1.2s ahead of cke's (at most 1s)"},
		{"a clock behind", func(m *M) { m.Skew = -time.Hour }, "clock fail|1h0m0s behind cke's"},
		{"a slow question", func(m *M) { m.Skew, m.Unsure = 3*time.Second, 2500*time.Millisecond }, ""},
		{"room for the quota", func(m *M) { m.Machine.Free = 8 << 30 }, ""},
		{"a byte too little", func(m *M) { m.Machine.Free = 8<<30 - 1 }, "space fail|8191MiB free for its data (at least 8GiB)"},
		{"10ms", func(m *M) { m.Machine.Fsync.P99 = 10 * time.Millisecond }, ""},
		{"more than 10ms", func(m *M) { m.Machine.Fsync.P99 = 11 * time.Millisecond }, "fsync warn|within 11ms (at most 100ms"},
		{"100ms", func(m *M) { m.Machine.Fsync.P99 = 100 * time.Millisecond }, "fsync warn|within 100ms"},
		{"more than 100ms", func(m *M) { m.Machine.Fsync.P99 = 101 * time.Millisecond }, "fsync fail|within 101ms"},
		{"not one write", func(m *M) { m.Machine.Fsync = cluster.Fsync{} }, "fsync fail|no write was made"},
		{"enough files", func(m *M) { m.Machine.OpenFiles = 4096 }, ""},
		{"any number of files", func(m *M) { m.Machine.OpenFiles = 1 << 62 }, ""},
		{"too few files", func(m *M) { m.Machine.OpenFiles = 4095 }, "files fail|4095 files open (at least 4096)"},
		{"little memory", func(m *M) { m.Machine.Memory = 1<<30 - 1 }, "memory warn|1023MiB"},
		{"its own ports", func(m *M) { m.Machine.Runs = true }, ""},
		{"a busy port", func(m *M) { m.Machine.BusyPorts = []int{2379} }, "ports fail|ports [2379] of 10.0.0.1"},
		{"another address", func(m *M) { m.Machine.Own = false }, "address fail|10.0.0.1 is none of the machine's"},
		{"an old systemd", func(m *M) { m.Machine.Systemd = 238 }, "systemd fail|version 238 (at least 239)"},
		{"no systemd", func(m *M) { m.Machine.Systemd = 0 }, "systemd fail|not run by systemd"},
		{"no systemd needed", func(m *M) { m.Machine.Runtime, m.Machine.Systemd = cluster.RuntimeProcess, 0 }, ""},
		{"not tried", func(m *M) { m.Links = m.Links[:2] }, "from cp2 warn|it was not tried"},
		{"not tried at all", func(m *M) { m.Links = nil }, "to cp2 warn|it was not tried;from cp2 warn|it was not tried"},
		{"no answer", func(m *M) { m.Links[0].Err = "no answer within 2s" }, "to cp2 fail|port 2379 is not reached: no answer within 2s"},
		{"no answer where nothing listens", func(m *M) { m.Links[0].Err, m.Links[0].Listens = "no answer within 2s", false }, "to cp2 fail|port 2379 is not reached"},
		{"refused where it listens", func(m *M) { m.Links[3].Err, m.Links[3].Refused = "connection refused", true }, "from cp2 fail|port 2380 is not reached: connection refused"},
		{"refused where nothing listens", func(m *M) {
			m.Links[3].Err, m.Links[3].Refused, m.Links[3].Listens = "connection refused", true, false
		}, "from cp2 warn|nothing listens there now"},
		{"no answer from a silent host", func(m *M) { m.Links[1].Err, m.Links[1].Unasked = "no answer within 2s", "its host does not answer" }, "to cp2 warn|it was not tried: its host does not answer"},
		{"fail outweighs warn", func(m *M) { m.Links[0].Unasked, m.Links[1].Err = "its host does not answer", "no answer within 2s" }, "to cp2 fail|port 2380 is not reached"},
		{"a foreign source", func(m *M) { m.Links[1].Source = netip.MustParseAddr("192.0.2.9") }, "to cp2 fail|connections come from 192.0.2.9, not from 10.0.0.1"},
		{"a peer's foreign source", func(m *M) { m.Links[3].Source = netip.MustParseAddr("192.0.2.9") }, "from cp2 fail|connections come from 192.0.2.9, not from 10.0.0.2"},
		{"a foreign source to clients' port", func(m *M) { m.Links[0].Source = netip.MustParseAddr("192.0.2.9") }, ""},
		{"loopback", func(m *M) {
			m.Links[1].Dialer, m.Links[1].Source = netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
		}, ""},
		{"no answer at all", func(m *M) { *m = M{Err: "session ended"} }, "host fail|the host cannot be asked: session ended"},
	} {
		m := measured(n, time.Unix(1000, 0))
		m.Links = append(link(n, p, false), link(n, p, true)...)
		c.spoil(&m)
		checks := CheckNode(spec, n, m, []cluster.Node{p})
		var odd []string
		fails := false
		for _, got := range checks {
			if got.Text == "" || got.Name == "" {
				t.Errorf("%s: %+v says nothing", c.name, got)
			}
			if got.Verdict != cluster.CheckOK {
				odd = append(odd, got.Name+" "+string(got.Verdict)+" "+got.Text)
			}
			fails = fails || got.Verdict == cluster.CheckFail
		}
		if !matches(odd, c.want) || fails != Failed(checks) {
			t.Errorf("%s: got %q, want %q", c.name, odd, c.want)
		}
	}
	spec.Preflight.MinFree = 3 << 30
	m := measured(n, time.Unix(1000, 0))
	m.Machine.Free = 4 << 30
	if c := checkSpace(spec, m.Machine); c.Verdict != cluster.CheckOK || !strings.Contains(c.Text, units.Size(3<<30).String()) {
		t.Errorf("%+v", c)
	}
}

// matches: what is odd is exactly what is wanted, each "NAME VERDICT|PART OF TEXT".
func matches(odd []string, want string) bool {
	if want == "" {
		return len(odd) == 0
	}
	all := strings.Split(want, ";")
	for i, w := range all {
		what, says, _ := strings.Cut(w, "|")
		if i >= len(odd) || !strings.HasPrefix(odd[i], what+" ") || !strings.Contains(odd[i], says) {
			return false
		}
	}
	return len(odd) == len(all)
}
