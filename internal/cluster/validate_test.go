package cluster

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cke/internal/units"
)

const goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+ZLKDLNoXi/8L/BNRtQcSyyWCObzZL890yrZIEEyBB root@cp1"

func validSpec() Spec {
	s := Spec{Name: "main", Nodes: nodes(3)}
	s.Nodes[1].Zone = "rack-1"
	s.Etcd.ExtraArgs = map[string]string{"max-request-bytes": "1048576"}
	s.Etcd.ExtraEnv = map[string]string{"GOMAXPROCS": "2"}
	s.Kubernetes.Kubeconfig = "/etc/kubernetes/admin.conf"
	return s
}

// lines prints problems one a line, warnings marked.
func lines(ps []Problem) string {
	var b strings.Builder
	for _, p := range ps {
		if p.Warning {
			b.WriteString("warning: ")
		}
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"as it is":      func(*Spec) {},
		"with defaults": func(s *Spec) { *s = s.WithDefaults() },
		"one node":      func(s *Spec) { s.Nodes = s.Nodes[:1] },
		"a spare":       func(s *Spec) { s.Nodes = nodes(4); s.Etcd.Members = 3 },
		"loopback": func(s *Spec) {
			s.Nodes[0].Address, s.Kubernetes.Kubeconfig = netip.MustParseAddr("127.0.0.1"), ""
		},
		"IPv6":           func(s *Spec) { s.Nodes[0].Address = netip.MustParseAddr("fd00::1") },
		"IPv4-mapped":    func(s *Spec) { s.Nodes[0].Address = netip.MustParseAddr("::ffff:10.0.0.9") },
		"floor":          func(s *Spec) { s.Etcd.Version = "3.6.13" },
		"later minor":    func(s *Spec) { s.Etcd.Version = "3.10.0" },
		"least and most": func(s *Spec) { s.Etcd.ReplaceAfter, s.Etcd.Quota = units.Duration(time.Second), 100<<30 },
		"smallest quota": func(s *Spec) { s.Etcd.Quota = 16 << 20 },
		"longest names": func(s *Spec) {
			s.Name = strings.Repeat("a", 63)
			s.Nodes[0].Hostname = NodeName(strings.Repeat("h", 63))
		},
		"over SSH": func(s *Spec) { s.Nodes[0].User, s.Nodes[0].Port = "cke", 2222 },
		"loopback over SSH": func(s *Spec) {
			s.Nodes[0].Address, s.Nodes[0].User = netip.MustParseAddr("127.0.0.1"), "root"
			s.Kubernetes.Kubeconfig = ""
		},
		"a key pinned": func(s *Spec) { s.Nodes[0].User, s.Nodes[0].HostKey = "root", goodKey },
		"a fingerprint pinned": func(s *Spec) {
			s.Nodes[0].User, s.Nodes[0].HostKey = "root", "SHA256:pTmsXRcO6yOuMPAPmZ8j8Vb7EGhS5cQzqUtcsmS9s+k"
		},
		"a flag of etcd":  func(s *Spec) { s.Etcd.ExtraArgs["snapshot-count"] = "" },
		"digits as label": func(s *Spec) { s.Name, s.Nodes[0].Hostname = "1", "2" },
		"longest domain":  func(s *Spec) { s.ClusterDomain = strings.Repeat("abc.", 41)[:163] + "x" },
	} {
		s := validSpec()
		change(&s)
		if ps := s.Validate(); len(ps) != 0 {
			t.Errorf("%s:\n%s", name, lines(ps))
		}
	}
}

// nodeProblems and etcdProblems are the beginnings of messages, each with the
// change to a valid spec that brings it about alone.
func nodeProblems() map[string]func(*Spec) {
	node := func(address, hostname string) Node {
		return Node{Address: netip.MustParseAddr(address), Hostname: NodeName(hostname), ControlPlane: true}
	}
	return map[string]func(*Spec){
		"name: name is missing":                                 func(s *Spec) { s.Name = "" },
		`name: name "Main" is not a DNS label`:                  func(s *Spec) { s.Name = "Main" },
		`name: name "a-" is not a DNS label`:                    func(s *Spec) { s.Name = "a-" },
		`name: name "a.b" is not a DNS label`:                   func(s *Spec) { s.Name = "a.b" },
		`name: name "../x" is not a DNS label`:                  func(s *Spec) { s.Name = "../x" },
		`name: name "a\n" is not a DNS label`:                   func(s *Spec) { s.Name = "a\n" },
		`name: name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`:   func(s *Spec) { s.Name = strings.Repeat("a", 64) },
		`cluster_domain: cluster_domain "a..b" is not`:          func(s *Spec) { s.ClusterDomain = "a..b" },
		`cluster_domain: cluster_domain "cluster.local." is`:    func(s *Spec) { s.ClusterDomain = "cluster.local." },
		`cluster_domain: cluster_domain is 167 characters`:      func(s *Spec) { s.ClusterDomain = strings.Repeat("abc.", 42)[:167] },
		"nodes: no node has control_plane: true":                func(s *Spec) { s.Nodes = []Node{{Address: s.Nodes[0].Address, Hostname: "w1"}} },
		"nodes[1].address: address is missing":                  func(s *Spec) { s.Nodes[1].Address = netip.Addr{} },
		"nodes[1].address: address 0.0.0.0 is the unspecified":  func(s *Spec) { s.Nodes[1] = node("0.0.0.0", "x") },
		"nodes[1].address: address :: is the unspecified":       func(s *Spec) { s.Nodes[1] = node("::", "x") },
		"nodes[1].address: address 0.0.0.0 is the unspecified ": func(s *Spec) { s.Nodes[1] = node("::ffff:0.0.0.0", "x") },
		"nodes[1].address: address 224.0.0.1 is a multicast":    func(s *Spec) { s.Nodes[1] = node("224.0.0.1", "x") },
		"nodes[1].address: address ff02::1 is a multicast":      func(s *Spec) { s.Nodes[1] = node("ff02::1", "x") },
		"nodes[1].address: address 255.255.255.255 is the":      func(s *Spec) { s.Nodes[1] = node("255.255.255.255", "x") },
		"nodes[1].address: address fe80::1%eth0 has a zone":     func(s *Spec) { s.Nodes[1] = node("fe80::1%eth0", "x") },
		"nodes[1].address: address fe80::1 is link-local":       func(s *Spec) { s.Nodes[1] = node("fe80::1", "x") },
		"nodes[2].address: address 10.0.0.1 is already that of": func(s *Spec) { s.Nodes[2].Address = netip.MustParseAddr("::ffff:10.0.0.1") },
		"nodes[2].hostname: hostname is missing":                func(s *Spec) { s.Nodes[2].Hostname = "" },
		`nodes[2].hostname: hostname "cp1" is already that of`:  func(s *Spec) { s.Nodes[2].Hostname = "cp1" },
		`nodes[2].hostname: hostname "cp.3" is not a DNS label`: func(s *Spec) { s.Nodes[2].Hostname = "cp.3" },
		`nodes[0].user: user "no one" is not the name`:          func(s *Spec) { s.Nodes[0].User = "no one" },
		`nodes[0].port: port is of no use without user: it is`:  func(s *Spec) { s.Nodes[0].Port = 22 },
		`nodes[0].host_key: host_key is of no use without`:      func(s *Spec) { s.Nodes[0].HostKey = goodKey },
		`nodes[0].host_key: host_key "SHA256:x" is neither`:     func(s *Spec) { s.Nodes[0].User, s.Nodes[0].HostKey = "cke", "SHA256:x" },
		`host_key "MD5:2f:01" is neither a fingerprint`:         func(s *Spec) { s.Nodes[0].User, s.Nodes[0].HostKey = "cke", "MD5:2f:01" },
		`host_key "10.0.0.1 ssh-ed25519 AAAA" is neither`:       func(s *Spec) { s.Nodes[0].User, s.Nodes[0].HostKey = "cke", "10.0.0.1 ssh-ed25519 AAAA" },
		`host_key "ssh-rsa `: func(s *Spec) {
			s.Nodes[0].User, s.Nodes[0].HostKey = "cke", strings.Replace(goodKey, "ssh-ed25519", "ssh-rsa", 1)
		},
		`nodes[0].zone: zone "rack 1" is not a label`: func(s *Spec) { s.Nodes[0].Zone = "rack 1" },
	}
}

func etcdProblems() map[string]func(*Spec) {
	arg := func(k, v string) func(*Spec) { return func(s *Spec) { s.Etcd.ExtraArgs = map[string]string{k: v} } }
	env := func(k, v string) func(*Spec) { return func(s *Spec) { s.Etcd.ExtraEnv = map[string]string{k: v} } }
	return map[string]func(*Spec){
		"etcd.members: members 4 is more than there are nodes with control_plane: true (3)": func(s *Spec) { s.Etcd.Members = 4 },
		"etcd.members: members -1 is not a positive number":                                 func(s *Spec) { s.Etcd.Members = -1 },
		`etcd.version: version "3.7" is not of the form 3.7.3`:                              func(s *Spec) { s.Etcd.Version = "3.7" },
		`etcd.version: version "v3.7.3" is not of the form`:                                 func(s *Spec) { s.Etcd.Version = "v3.7.3" },
		`etcd.version: version "3.07.3" is not of the form`:                                 func(s *Spec) { s.Etcd.Version = "3.07.3" },
		"etcd.version: version 3.6.12 is too old":                                           func(s *Spec) { s.Etcd.Version = "3.6.12" },
		"etcd.version: version 3.5.99 is too old":                                           func(s *Spec) { s.Etcd.Version = "3.5.99" },
		"etcd.version: version 2.9.99 is too old":                                           func(s *Spec) { s.Etcd.Version = "2.9.99" },
		"etcd.version: version 4.0.0 is not known":                                          func(s *Spec) { s.Etcd.Version = "4.0.0" },
		"etcd.replace_after: replace_after 999ms is too short":                              func(s *Spec) { s.Etcd.ReplaceAfter = units.Duration(999 * time.Millisecond) },
		"etcd.replace_after: replace_after -1h is too short":                                func(s *Spec) { s.Etcd.ReplaceAfter = units.Duration(-time.Hour) },
		"etcd.quota: quota 15MiB is not between 16MiB and 100G":                             func(s *Spec) { s.Etcd.Quota = 15 << 20 },
		"etcd.quota: quota 101GiB is not between":                                           func(s *Spec) { s.Etcd.Quota = 101 << 30 },
		`etcd.extra_args.--debug: write extra_args without le`:                              arg("--debug", ""),
		`leading dashes: "name"`:                                                            arg("-name", ""),
		`etcd.extra_args.A_B: extra_args name "A_B" is not the`:                             arg("A_B", ""),
		`etcd.extra_args.a=b: extra_args name "a=b" is not the`:                             arg("a=b", ""),
		`etcd.extra_args.: extra_args name "" is not the name`:                              arg("", "x"),
		`etcd.extra_args.discovery-user: extra_args may not`:                                arg("discovery-user", ""),
		`etcd.extra_args.metrics: the value of extra_args "met`:                             arg("metrics", "a\nb"),
		`extra_env may not set "ETCD_NAME": configure etcd`:                                 env("ETCD_NAME", "x"),
		`extra_env may not set "LD_PRELOAD": it belongs to`:                                 env("LD_PRELOAD", "x"),
		`extra_env may not set "NOTIFY_SOCKET": it belongs to`:                              env("NOTIFY_SOCKET", "x"),
		`extra_env name "A B" is not the name of an environm`:                               env("A B", "x"),
		`extra_env name "1A" is not the name of an environment`:                             env("1A", "x"),
		`the value of extra_env "A" holds characters`:                                       env("A", "x\x00"),
		"etcd.compaction_retention: compaction_retention 500ms is not between 1s and 1y":    func(s *Spec) { s.Etcd.CompactionRetention = units.Duration(500 * time.Millisecond) },
		"etcd.compaction_retention: compaction_retention -5m is not between":                func(s *Spec) { s.Etcd.CompactionRetention = units.Duration(-5 * time.Minute) },
	}
}

func TestValidateRefuses(t *testing.T) {
	cases := nodeProblems()
	maps.Copy(cases, etcdProblems())
	maps.Copy(cases, kubernetesProblems())
	for want, change := range cases {
		s := validSpec()
		change(&s)
		ps := s.Validate()
		if got := lines(ps); len(ps) != 1 || ps[0].Warning || !strings.Contains(got, want) {
			t.Errorf("want the one problem %s\ngot\n%s", want, got)
		}
	}
}

func TestValidateRefusesOwnedFlags(t *testing.T) {
	for _, flag := range OwnedFlags() {
		s := validSpec()
		s.Etcd.ExtraArgs = map[string]string{flag: "x"}
		if got := lines(s.Validate()); !strings.Contains(got, "may not set") || strings.Count(got, "\n") != 1 {
			t.Errorf("extra_args %s: %q", flag, got)
		}
	}
}

func TestValidateWarns(t *testing.T) {
	s := validSpec()
	s.Nodes = nodes(4)
	ps := s.Validate()
	want := "warning: nodes: 4 members tolerate no more failures than 3 (1) and need one more to agree; use an odd number\n"
	if got := lines(ps); got != want || HasErrors(ps) {
		t.Errorf("four nodes: %q", got)
	}
	s.Etcd.Members = 2
	if got := lines(s.Validate()); !strings.HasPrefix(got, "warning: etcd.members: 2 members tolerate no more failures than 1 (0)") {
		t.Errorf("two of four: %q", got)
	}
	s.Nodes, s.Etcd.Members = nodes(9), 0
	if got := lines(s.Validate()); got != "warning: nodes: 9 members make every write wait for 5; more than 7 are not advised\n" {
		t.Errorf("nine nodes: %q", got)
	}
}

// Every problem is told at once, in the order of the file.
func TestValidateTellsAll(t *testing.T) {
	s := Spec{
		Name: "A", ClusterDomain: "-",
		Nodes:     []Node{{User: "U"}, {Hostname: "X", Address: netip.MustParseAddr("::")}},
		Etcd:      Etcd{Version: "x", Members: -3, ReplaceAfter: 1, Quota: 1, ExtraArgs: map[string]string{"-b": "", "-a": ""}},
		Preflight: Preflight{MaxClockSkew: -1, MinFree: -1, MaxFsync: -1, MinOpenFiles: -1},
		Kubernetes: Kubernetes{
			Kubeconfig: "k", APIServer: ClientFiles{Directory: "d", Owner: "-", Group: "-", Mode: "-"}, GatewayPort: 1,
		},
	}
	var got []string
	ps := s.Validate()
	for _, p := range ps {
		got = append(got, p.Path)
	}
	want := "name cluster_domain nodes nodes[0].address nodes[0].hostname nodes[0].user nodes[1].address nodes[1].hostname " +
		"etcd.version etcd.members etcd.replace_after etcd.quota etcd.extra_args.-a etcd.extra_args.-b " +
		"preflight.max_clock_skew preflight.min_free preflight.max_fsync preflight.min_open_files " +
		"kubernetes.kubeconfig kubernetes.apiserver.directory kubernetes.apiserver.owner kubernetes.apiserver.group kubernetes.apiserver.mode kubernetes.gateway_port"
	if strings.Join(got, " ") != want || !HasErrors(ps) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A spec that is accepted can be acted on: unique identities, enough nodes.
func TestValidateProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Spec{Name: rapid.StringMatching(`[a-c-]{0,3}`).Draw(t, "name")}
		for range rapid.IntRange(0, 4).Draw(t, "nodes") {
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 10, 224, 255}), 4, 4).Draw(t, "address"))
			s.Nodes = append(s.Nodes, Node{
				Address: a, Hostname: NodeName(rapid.StringMatching(`[a-c]{0,2}`).Draw(t, "hostname")), ControlPlane: rapid.Bool().Draw(t, "cp"),
			})
		}
		s.Etcd.Members = rapid.IntRange(-1, 5).Draw(t, "members")
		if HasErrors(s.Validate()) {
			return
		}
		hosts, addrs := map[NodeName]bool{}, map[netip.Addr]bool{}
		for _, n := range s.Nodes {
			if n.Hostname == "" || hosts[n.Hostname] || addrs[n.Address] || n.Address.IsUnspecified() || n.Address.IsMulticast() {
				t.Fatalf("accepted %+v", s.Nodes)
			}
			hosts[n.Hostname], addrs[n.Address] = true, true
		}
		if v := s.WantedVoters(); v < 1 || (s.Etcd.Members != 0 && v != s.Etcd.Members) {
			t.Fatalf("accepted %d voters of members %d", v, s.Etcd.Members)
		}
	})
}
