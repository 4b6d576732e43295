package config

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cke/internal/cluster"
	"cke/internal/units"
)

const good = `# the main cluster
name: main
cluster_domain: example.org
nodes:
  - address: 10.77.0.11
    hostname: cp1
    control_plane: true
    zone: rack-1
    kubernetes_node: cp1.example.org
  - {address: "fd00::12", hostname: 2, control_plane: true, user: cke, port: 65535, apiserver: true, gateway: true, host_key: "SHA256:pTmsXRcO6yOuMPAPmZ8j8Vb7EGhS5cQzqUtcsmS9s+k"}
  - address: ::ffff:10.77.0.13
    hostname: "yes"
    control_plane: true
    user:
etcd:
  version: 3.6.13
  members: 3
  replace_after: 1d
  quota: 4GiB
  compaction_retention: 10m
  extra_args: {max-request-bytes: 1048576, pre-vote: false, metrics: ""}
  extra_env:
    GOMAXPROCS: 2
  defrag: {free_ratio: 30%, window: "Sun 02:00-04:00"}
preflight: {max_clock_skew: 500ms, min_free: 20GiB, max_fsync: 15ms}
kubernetes: {kubeconfig: /etc/kubernetes/admin.conf, apiserver: {owner: kube, mode: 0640}, gateway_port: 12380}
backup: {}
`

func goodSpec() cluster.Spec {
	return cluster.Spec{
		Name: "main", ClusterDomain: "example.org",
		Nodes: []cluster.Node{
			{Address: netip.MustParseAddr("10.77.0.11"), Hostname: "cp1", ControlPlane: true, Zone: "rack-1", KubernetesNode: "cp1.example.org"},
			{Address: netip.MustParseAddr("fd00::12"), Hostname: "2", ControlPlane: true, User: "cke", Port: 65535, APIServer: true, Gateway: true, HostKey: "SHA256:pTmsXRcO6yOuMPAPmZ8j8Vb7EGhS5cQzqUtcsmS9s+k"},
			{Address: netip.MustParseAddr("10.77.0.13"), Hostname: "yes", ControlPlane: true},
		},
		Etcd: cluster.Etcd{
			Version: "3.6.13", Members: 3, ReplaceAfter: units.Duration(24 * time.Hour), Quota: 4 << 30, CompactionRetention: units.Duration(10 * time.Minute),
			ExtraArgs: map[string]string{"max-request-bytes": "1048576", "pre-vote": "false", "metrics": ""},
			ExtraEnv:  map[string]string{"GOMAXPROCS": "2"},
			Defrag:    cluster.Defrag{FreeRatio: 30, MinFree: 100 << 20, Window: "Sun 02:00-04:00"},
		},
		Preflight: cluster.Preflight{
			MaxClockSkew: units.Duration(500 * time.Millisecond), MinFree: 20 << 30,
			MaxFsync: units.Duration(15 * time.Millisecond), MinOpenFiles: 4096,
		},
		Kubernetes: cluster.Kubernetes{
			Kubeconfig:  "/etc/kubernetes/admin.conf",
			APIServer:   cluster.ClientFiles{Directory: "/etc/kubernetes/pki", Owner: "kube", Group: "root", Mode: "0640"},
			GatewayPort: 12380,
		},
	}
}

func diffSpec(a, b cluster.Spec) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }))
}

func TestParseCluster(t *testing.T) {
	got, warnings, err := ParseCluster("cluster.yml", []byte(good))
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if d := diffSpec(goodSpec(), got); d != "" {
		t.Error(d)
	}
}

func TestParseClusterFillsInDefaults(t *testing.T) {
	got, warnings, err := ParseCluster("c", []byte("name: a\nnodes:\n- address: 10.0.0.1\n  hostname: n1\n  control_plane: true\n- address: 10.0.0.2\n  hostname: n2\n  control_plane: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := cluster.Spec{Name: "a", Nodes: []cluster.Node{
		{Address: netip.MustParseAddr("10.0.0.1"), Hostname: "n1", ControlPlane: true},
		{Address: netip.MustParseAddr("10.0.0.2"), Hostname: "n2", ControlPlane: true},
	}}.WithDefaults()
	if d := diffSpec(want, got); d != "" {
		t.Error(d)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), "c:3:1: warning: 2 members tolerate no more failures than 1 (0)") {
		t.Errorf("warnings %v", warnings)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// Every file testdata/bad/*.yml has its problems beside it.
func TestParseClusterProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) < 10 {
		t.Fatal("no cases", err, files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, _, err := ParseCluster("cluster.yml", data)
			if err == nil {
				t.Fatalf("accepted as %+v", spec)
			}
			if _, ok := err.(*Problems); !ok {
				t.Fatalf("the error is a %T", err)
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".golden", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestParseClusterBounds(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"large":          {strings.Repeat("a", 1<<20+1), "c:1:1: the file is larger than 1048576 bytes"},
		"deep flow":      {strings.Repeat("[", 10000), "c:1:33: exceeded max depth of 32"},
		"deep block":     {strings.Repeat("- ", 10000), "exceeded max depth of 32"},
		"garbage":        {strings.Repeat("\x7f\x45\x4c\x46", 1<<18), "c:1:1: control character U+007F in the file"},
		"not UTF-8":      {"name: main\nnodes: é\xff", "c:2:9: the file is not UTF-8 text"},
		"UTF-16":         {"\xff\xfen\x00", "c:1:1: the file is not UTF-8 text"},
		"NUL":            {"name: a\n\x00", "c:2:1: control character U+0000 in the file"},
		"many keys":      {strings.Repeat("k: v\n", 1<<17), "c: and 131024 problems more"},
		"a long scalar":  {strings.Repeat("x", 1<<20), `c:1:1: the file is "xxxxxx`},
		"a billion lols": {"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "c:1:1: unknown key"},
	} {
		began := time.Now()
		_, _, err := ParseCluster("c", []byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v\nwant %s", name, err, c.want)
			continue
		}
		if len(err.Error()) > 20000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestLocateProblems(t *testing.T) {
	warnings, err := LocateProblems("cluster.yml", []byte(good), []cluster.Problem{
		{Path: "etcd.version", Message: "may not change"},
		{Path: "nodes[1].hostname", Message: "may not change"},
		{Path: "nodes[1].zone", Message: "is not there: its node is"},
		{Path: "etcd.extra_args.pre-vote", Message: "is odd", Warning: true},
		{Path: "nonsense.path[7]", Message: "lies at the root"},
	})
	want := "cluster.yml:2:1: lies at the root\ncluster.yml:10:5: is not there: its node is\ncluster.yml:10:37: may not change\ncluster.yml:16:12: may not change"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	if len(warnings) != 1 || warnings[0].String() != "cluster.yml:21:54: warning: is odd" {
		t.Errorf("warnings %v", warnings)
	}
	if warnings, err := LocateProblems("c", []byte(good), nil); err != nil || warnings != nil {
		t.Error(warnings, err)
	}
}

func TestMarshalCluster(t *testing.T) {
	out, err := MarshalCluster(goodSpec())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/cluster.golden.yml", string(out))
}

func genSpec() *rapid.Generator[cluster.Spec] {
	label := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?|yes|null|1e3|0x1f|0`)
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "~", "null", "yes", "true", "1e3", "0o7", "-", "- a", "a: b", "#", "a #b", "*x", "&x", "<<", "!t", "'", `"`, "%", "@", "| ", " a ", "2001-01-01", "=", "é", "日本"}),
		rapid.StringMatching(`[ -~]{0,12}`), rapid.StringMatching(`[ -~éßλ日\x{1F600}]{0,90}`),
	)
	return rapid.Custom(func(t *rapid.T) cluster.Spec {
		s := cluster.Spec{Name: label.Draw(t, "name"), ClusterDomain: label.Draw(t, "domain")}
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			a := netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "third byte"), byte(i)})
			if rapid.Bool().Draw(t, "v6") {
				a = netip.AddrFrom16([16]byte{0xfd, 0, 15: byte(i + 1)})
			}
			s.Nodes = append(s.Nodes, cluster.Node{
				Address: a, Hostname: cluster.NodeName(label.Draw(t, "hostname") + "-" + string(rune('a'+i))),
				ControlPlane: i == 0 || rapid.Bool().Draw(t, "control plane"),
				Zone:         rapid.SampledFrom([]string{"", "a", "null", "1.5", "Rack_1", "true"}).Draw(t, "zone"),
			})
			if rapid.Bool().Draw(t, "in Kubernetes") {
				s.Nodes[i].KubernetesNode = label.Draw(t, "kubernetes_node") + "." + string(rune('a'+i))
			}
			if rapid.Bool().Draw(t, "ssh") {
				n := &s.Nodes[i]
				n.User, n.Port = rapid.SampledFrom([]string{"root", "yes", "null"}).Draw(t, "user"), rapid.Uint16().Draw(t, "port")
				n.HostKey = rapid.SampledFrom([]string{"", "SHA256:pTmsXRcO6yOuMPAPmZ8j8Vb7EGhS5cQzqUtcsmS9s+k"}).Draw(t, "host_key")
				n.APIServer, n.Gateway = rapid.Bool().Draw(t, "apiserver"), rapid.Bool().Draw(t, "gateway")
			}
		}
		s.Etcd = cluster.Etcd{
			Version:      rapid.SampledFrom([]string{"", "3.6.13", "3.7.3"}).Draw(t, "version"),
			Members:      rapid.IntRange(0, 1).Draw(t, "members"),
			ReplaceAfter: units.Duration(rapid.Int64Range(int64(time.Second), 1<<60).Draw(t, "replace_after")),
			Quota:        units.Size(rapid.Int64Range(16<<20, 100<<30).Draw(t, "quota")),

			CompactionRetention: units.Duration(rapid.Int64Range(int64(time.Second), int64(365*24*time.Hour)).Draw(t, "compaction_retention")),
		}
		if rapid.Bool().Draw(t, "args") {
			s.Etcd.ExtraArgs = rapid.MapOfN(rapid.StringMatching(`x-[a-z]{1,3}|null|true|y|e1`), text, 1, 3).Draw(t, "extra_args")
		}
		if rapid.Bool().Draw(t, "env") {
			s.Etcd.ExtraEnv = rapid.MapOfN(rapid.StringMatching(`X[A-Z]|NULL|_|Y|no`), text, 1, 3).Draw(t, "extra_env")
		}
		s.Etcd.Defrag = cluster.Defrag{
			FreeRatio: units.Percent(rapid.IntRange(10, 90).Draw(t, "free_ratio")),
			MinFree:   units.Size(rapid.Int64Range(0, 1<<50).Draw(t, "defrag min_free")),
			Window:    rapid.SampledFrom([]cluster.Window{"", "02:00-04:00", "Sun 00:00-23:59", "Mon-Fri,Sun 22:00-02:00; 03:00-03:01"}).Draw(t, "window"),
		}
		if rapid.Bool().Draw(t, "defrag says") {
			enabled := rapid.Bool().Draw(t, "defrag enabled")
			s.Etcd.Defrag.Enabled = &enabled
		}
		s.Preflight.MinFree = units.Size(rapid.Int64Range(0, 1<<50).Draw(t, "min_free"))
		s.Preflight.MaxFsync = units.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "max_fsync"))
		s.Kubernetes.Kubeconfig = rapid.SampledFrom([]string{"", "/a b", "/#: x", "in-cluster"}).Draw(t, "kubeconfig")
		s.Kubernetes.APIServer = cluster.ClientFiles{
			Directory: rapid.SampledFrom([]string{"", "/a b", "/#: x", "/~", "/null"}).Draw(t, "directory"),
			Owner:     rapid.SampledFrom([]string{"", "yes", "null", "_x"}).Draw(t, "owner"),
			Group:     rapid.SampledFrom([]string{"", "no", "n"}).Draw(t, "group"),
			Mode:      rapid.SampledFrom(append(cluster.ClientModes(), "")).Draw(t, "mode"),
		}
		s.Kubernetes.GatewayPort = rapid.Uint16Range(2383, 65535).Draw(t, "gateway_port")
		return s
	})
}

// What is printed reads back as the same spec.
func TestClusterRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genSpec().Draw(t, "spec").WithDefaults()
		if ps := want.Validate(); cluster.HasErrors(ps) {
			t.Fatalf("the generator makes invalid specs: %v", ps)
		}
		out, err := MarshalCluster(want)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := ParseCluster("cluster.yml", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if d := diffSpec(want, got); d != "" {
			t.Fatalf("%s\n%s", d, out)
		}
	})
}

// Whatever the bytes, there is a spec that is valid and can be written, or a
// list of problems with positions in the file.
func FuzzParseCluster(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(good))
	f.Add([]byte("? {a: b}\n: - [*x, &y z]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, _, err := ParseCluster("c", data)
		if err != nil {
			ps, ok := err.(*Problems)
			if !ok || len(ps.List) == 0 || err.Error() == "" {
				t.Fatalf("the error is %T %v", err, err)
			}
			for _, p := range ps.List {
				if p.Line < 1 || p.Column < 1 || p.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+strings.Count(string(data), "\u0085")+strings.Count(string(data), "\u2028")+strings.Count(string(data), "\u2029")+2 {
					t.Fatalf("%s is not in a file of %d bytes", p, len(data))
				}
			}
			return
		}
		if _, err := MarshalCluster(spec); err != nil || cluster.HasErrors(spec.Validate()) {
			t.Fatalf("accepted %+v, %v", spec, err)
		}
	})
}
