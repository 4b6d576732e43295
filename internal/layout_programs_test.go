package layout_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"cke/internal/cluster"
)

// pinned is the etcd version that deps/etcd-3.7 builds.
func pinned(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile("../deps/etcd-3.7/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go\.etcd\.io/etcd/server/v3 v(\S+)`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("deps/etcd-3.7/go.mod requires no go.etcd.io/etcd/server/v3")
	}
	return string(m[1])
}

func TestThePinnedEtcdIsTheDefaultVersion(t *testing.T) {
	if got, want := cluster.DefaultVersion, pinned(t); got != want {
		t.Errorf("cluster.DefaultVersion is %s, deps/etcd-3.7 builds %s", got, want)
	}
}

func TestTheBuiltProgramsAreThePinnedVersion(t *testing.T) {
	want := pinned(t)
	for program, says := range map[string]string{
		"etcd --version":  "etcd Version: ",
		"etcdctl version": "etcdctl version: ",
		"etcdutl version": "etcdutl version: ",
	} {
		args := strings.Fields(program)
		out, err := exec.Command("../bin/"+args[0], args[1:]...).Output()
		if err != nil {
			t.Errorf("bin/%s: %v; `make build` makes it", program, err)
			continue
		}
		first, _, _ := strings.Cut(string(out), "\n")
		if first != says+want {
			t.Errorf("bin/%s says %q, want %q", program, first, says+want)
		}
	}
}

// The embedded store and the members are of one version, so that what one
// writes the other's tools read.
func TestTheEmbeddedStoreIsThePinnedVersion(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}",
		"go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/etcdutl/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range strings.Fields(string(out)) {
		if v != "v"+pinned(t) {
			t.Errorf("go.mod requires etcd %s, deps/etcd-3.7 %s", v, pinned(t))
		}
	}
}
