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
	return pinnedIn(t, "etcd-3.7")
}

func pinnedIn(t *testing.T, dep string) string {
	t.Helper()
	mod, err := os.ReadFile("../deps/" + dep + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go\.etcd\.io/etcd/server/v3 v(\S+)`).FindSubmatch(mod)
	if m == nil {
		t.Fatalf("deps/%s/go.mod requires no go.etcd.io/etcd/server/v3", dep)
	}
	return string(m[1])
}

func TestThePinnedEtcdIsTheDefaultVersion(t *testing.T) {
	if got, want := cluster.DefaultVersion, pinned(t); got != want {
		t.Errorf("cluster.DefaultVersion is %s, deps/etcd-3.7 builds %s", got, want)
	}
}

func TestTheBuiltProgramsAreThePinnedVersion(t *testing.T) {
	builtAre(t, "../bin/", pinned(t))
	builtAre(t, "../bin/etcd-3.6/", pinnedIn(t, "etcd-3.6"))
}

// The tests that change etcd's version know which the older one is.
func TestTheOlderEtcdIsThePinnedVersion(t *testing.T) {
	older := pinnedIn(t, "etcd-3.6")
	b, err := os.ReadFile("../test/drive/drive.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `OlderVersion = "`+older+`"`) {
		t.Errorf("deps/etcd-3.6 builds %s, and drive.OlderVersion is another", older)
	}
	if why := cluster.VersionPath(older, pinned(t)); why != "" {
		t.Error(why)
	}
}

func builtAre(t *testing.T, dir, want string) {
	t.Helper()
	for program, says := range map[string]string{
		"etcd --version":  "etcd Version: ",
		"etcdctl version": "etcdctl version: ",
		"etcdutl version": "etcdutl version: ",
	} {
		args := strings.Fields(program)
		out, err := exec.Command(dir+args[0], args[1:]...).Output()
		if err != nil {
			t.Errorf("%s%s: %v; `make test` makes it", dir, program, err)
			continue
		}
		first, _, _ := strings.Cut(string(out), "\n")
		if first != says+want {
			t.Errorf("%s%s says %q, want %q", dir, program, first, says+want)
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

func TestEveryDependencyIsExplained(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/DEPENDENCIES.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := strings.Fields(string(out))
	if len(required) == 0 {
		t.Fatal("go list names no direct dependency")
	}
	for _, path := range required {
		if !strings.Contains(string(text), "| "+path+" |") {
			t.Errorf("docs/DEPENDENCIES.md has no line for %s", path)
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^\| ([a-z]+\.[a-z./0-9-]+) \|`).FindAllSubmatch(text, -1) {
		if !strings.Contains(string(mod), "\t"+string(line[1])+" v") {
			t.Errorf("docs/DEPENDENCIES.md explains %s, which go.mod does not require", line[1])
		}
	}
}

// What kubectl and the API server say of themselves is set when they are linked.
func TestTheMakefileNamesThePinnedKubernetes(t *testing.T) {
	mod, err := os.ReadFile("../deps/kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`k8s\.io/kubernetes v(\S+)`).FindSubmatch(mod)
	got := regexp.MustCompile(`(?m)^KUBE_VERSION *:= (\S+)$`).FindSubmatch(makefile)
	if want == nil || got == nil || string(got[1]) != string(want[1]) {
		t.Errorf("the Makefile's KUBE_VERSION is %q, deps/kubernetes requires %q", got, want)
	}
}
