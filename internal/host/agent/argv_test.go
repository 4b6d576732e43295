package agent

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/units"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testPaths(log string) paths {
	return paths{
		data: "/var/lib/cke/etcd/prod/8e9e05c52164694d",
		pki:  func(k host.FileKind) string { return "/etc/cke/etcd/prod/pki/" + string(k) },
		log:  log,
	}
}

func TestArgv(t *testing.T) {
	t.Parallel()
	peers := map[cluster.NodeName]string{
		"cp3": "https://10.0.0.3:2380", "cp1": "https://10.0.0.1:2380", "cp2": "https://10.0.0.2:2380",
	}
	unit := func(addr string, f *cluster.Founding) cluster.Unit {
		return cluster.Unit{
			Cluster: "prod", Node: "cp1", Member: 0x8e9e05c52164694d, Address: netip.MustParseAddr(addr),
			Version: "3.7.3", Quota: 8 << 30, Founding: f,
		}
	}
	extra := unit("10.0.0.1", nil)
	extra.ExtraArgs = map[string]string{"max-learners": "2", "heartbeat-interval": "200"}
	extra.ExtraEnv = map[string]string{"GOMEMLIMIT": "4GiB", "GOGC": "50"}
	history := unit("10.0.0.1", nil)
	history.Retention = units.Duration(36 * time.Hour)
	for name, c := range map[string]struct {
		unit cluster.Unit
		log  string
	}{
		"history":     {history, "/var/log/etcd.log"},
		"found":       {unit("10.0.0.1", &cluster.Founding{New: true, Token: "t0k", Peers: peers}), "/var/log/etcd.log"},
		"join":        {unit("10.0.0.1", &cluster.Founding{Token: "t0k", Peers: peers}), "/var/log/etcd.log"},
		"sealed":      {unit("10.0.0.1", nil), "/var/log/etcd.log"},
		"to stderr":   {unit("10.0.0.1", nil), ""},
		"loopback":    {unit("127.0.0.2", nil), "/var/log/etcd.log"},
		"ipv6":        {unit("fd00::1", nil), "/var/log/etcd.log"},
		"extra flags": {extra, "/var/log/etcd.log"},
	} {
		got := strings.Join(append(env(c.unit), argv(c.unit, testPaths(c.log))...), "\n") + "\n"
		path := filepath.Join("testdata", "argv", strings.ReplaceAll(name, " ", "-")+".golden")
		if *update {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Every flag that is set is one that CKE owns, so that no extra argument can
// come behind it, and one that etcd has.
func TestFlagsAreOwnedAndKnown(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	help, err := exec.Command(etcdBinary(t), "--help").CombinedOutput()
	must(t, err)
	owned := cluster.OwnedFlags()
	args := append(argv(b.founder(), testPaths("/x")), argv(b.founder(), testPaths(""))...)
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !slices.Contains(owned, name) {
			t.Errorf("%s is not owned", name)
		}
		if !strings.Contains(string(help), "--"+name+" ") && !strings.Contains(string(help), "--"+name+"\n") {
			t.Errorf("etcd has no %s", name)
		}
	}
}
