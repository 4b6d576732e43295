// Package layout_test holds the structure of the whole module: which package
// may import which, who uses a third-party library, and how large and how
// plain the source stays.
package layout_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the order of the packages under internal/, lowest first. A package
// imports only from layers below its own.
func layers() [][]string {
	return [][]string{
		{"units", "version", "pack"},
		{"cluster"},
		{"plan"},
		{"record"},
		{"config", "host", "host/agent", "host/remote", "host/remote/sshtest", "etcd", "pki", "pki/vault", "seal", "release", "store", "bucket", "backup", "kube", "gateway"},
		{"observe", "execute"},
		{"reconcile"},
		{"api", "web", "metrics"},
		{"app", "cli"},
		{"dev"},
		{"daemon"},
	}
}

// sideways are the imports allowed inside a layer, with their reasons.
func sideways() map[[2]string]string {
	return map[[2]string]string{
		{"host/agent", "host"}:   "it serves the verbs that host names",
		{"host/remote", "host"}:  "it is another way to the same verbs",
		{"release", "host"}:      "it makes what the verb put-release carries",
		{"pki/vault", "pki"}:     "it is another issuer",
		{"store", "seal"}:        "what it keeps of the authorities is sealed",
		{"backup", "bucket"}:     "a backup lies in a bucket",
		{"execute", "observe"}:   "a step's guard is checked on a fresh observation",
		{"web", "api"}:           "the page shows what the API serves",
		{"metrics", "reconcile"}: "it counts what the loop did",

		{"host/agent", "gateway"}: "it installs the gateway and asks it how it stands",
	}
}

// only narrows a package to the imports named here, whatever its layer allows.
func only() map[string][]string {
	with := func(more ...string) []string { return append(more, "units", "cluster", "plan", "record") }
	return map[string][]string{
		"internal/api":                 with(),
		"internal/host":                with(),
		"internal/host/agent":          with("host", "pack", "gateway"),
		"internal/host/remote":         with("host"),
		"internal/host/remote/sshtest": with(),
		"internal/gateway":             {"cluster"}, // it is part of the helper, which is to be small
		// local-backup writes its files in ckecli's own process.
		"internal/cli": with("api", "backup"),
		"cmd/cke":      {"daemon", "version"},
		"cmd/ckecli":   {"cli", "config", "api", "version"}, // what config.yml says of the API
		"cmd/cke-host": {"host", "host/agent", "gateway", "version"},
	}
}

// shared are the third-party modules that more than one package imports, with
// the packages and the reason. Every other module has one importer.
func shared() map[string][]string {
	return map[string][]string{
		// Two clusters, two roles: CKE's own state, and the clusters it cares for.
		"go.etcd.io/etcd/client/v3": {"etcd", "store"},
		"go.etcd.io/etcd/api/v3":    {"etcd", "store"},
		// etcd logs through zap: both clients and the embedded server are bridged to slog.
		"go.uber.org/zap": {"etcd", "store"},
		// How patient a connection to etcd is, and what goes over it, can only be said
		// in gRPC's words.
		"google.golang.org/grpc": {"etcd", "store"},
		// Both ends of SSH: cke's, and a server for tests.
		"golang.org/x/crypto": {"host/remote", "host/remote/sshtest"},
		// System calls the standard library has no name for: file locks, peer
		// credentials of a socket, free space, rename without replacing.
		"golang.org/x/sys": nil,
		// errgroup is part of the language in all but name.
		"golang.org/x/sync": nil,
	}
}

// testOnly are modules that never become part of a program.
func testOnly() []string {
	return []string{
		"github.com/google/go-cmp",
		"github.com/rogpeppe/go-internal",
		"pgregory.net/rapid",
		"github.com/anishathalye/porcupine",
	}
}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Module     *struct{ Path string }
}

// listed returns this module's packages and, by import path, the module of
// every package they reach.
func listed(t *testing.T) ([]goPackage, map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Module", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var own []goPackage
	module := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		if p.Module == nil {
			continue // the standard library
		}
		module[p.ImportPath] = p.Module.Path
		if p.Module.Path == "cke" {
			own = append(own, p)
		}
	}
	if len(own) < 5 {
		t.Fatalf("go list names only %d packages of this module", len(own))
	}
	return own, module
}

// layerOf returns a package's place, -1 when it has none.
func layerOf(name string) int {
	return slices.IndexFunc(layers(), func(l []string) bool { return slices.Contains(l, name) })
}

// name returns the path below the module, and below internal/ if it is there.
func name(importPath string) (path, internal string) {
	path = strings.TrimPrefix(importPath, "cke/")
	internal, ok := strings.CutPrefix(path, "internal/")
	if !ok {
		internal = ""
	}
	return path, internal
}

func TestImportsPointOneWay(t *testing.T) {
	own, _ := listed(t)
	for _, p := range own {
		path, self := name(p.ImportPath)
		if strings.HasPrefix(path, "internal/") && layerOf(self) < 0 {
			t.Errorf("%s has no place in layers(); give it one", path)
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, "cke/") {
				continue
			}
			if why := refuse(path, self, imported); why != "" {
				t.Errorf("%s imports %s: %s", path, strings.TrimPrefix(imported, "cke/"), why)
			}
		}
	}
}

// refuse says why a package may not import another of this module; "" if it may.
func refuse(path, self, imported string) string {
	where, other := name(imported)
	if other == "" {
		// Machines for tests and benchmarks, simulated ones, a Kubernetes, and a judge
		// of histories; no program may get hold of them.
		if (within(where, "test/lab") || within(where, "test/sim") || within(where, "test/kube/k8s") || within(where, "test/faults")) &&
			(within(path, "test") || within(path, "bench")) {
			return ""
		}
		return "nothing imports from outside internal/"
	}
	if allowed, narrow := only()[path]; narrow {
		if slices.Contains(allowed, other) {
			return ""
		}
		return "it is narrowed to " + strings.Join(allowed, ", ")
	}
	if self == "" {
		if strings.HasPrefix(path, "cmd/") {
			return "a program has a line of its own in only()"
		}
		return "" // tests, benchmarks
	}
	if layerOf(other) < layerOf(self) {
		return ""
	}
	if _, ok := sideways()[[2]string{self, other}]; ok {
		return ""
	}
	return "it is not in a layer below"
}

// within says whether a package is dir's or below it.
func within(path, dir string) bool { return strings.HasPrefix(path+"/", dir+"/") }

func TestALibraryHasOneImporter(t *testing.T) {
	own, module := listed(t)
	importers := map[string][]string{}
	for _, p := range own {
		_, self := name(p.ImportPath)
		if self == "" {
			continue // programs are a few lines; benchmarks are not part of the product
		}
		for _, imported := range p.Imports {
			m := module[imported]
			if m == "" || m == "cke" || slices.Contains(importers[m], self) {
				continue
			}
			importers[m] = append(importers[m], self)
		}
	}
	for m, who := range importers {
		if slices.Contains(testOnly(), m) {
			t.Errorf("%v import %s outside of tests", who, m)
		}
		allowed, exception := shared()[m]
		switch {
		case !exception && len(who) > 1:
			t.Errorf("%s is imported by %v; one package should wrap it", m, who)
		case exception && allowed != nil:
			for _, w := range who {
				if !slices.Contains(allowed, w) {
					t.Errorf("%s imports %s; only %v may", w, m, allowed)
				}
			}
		}
	}
}
