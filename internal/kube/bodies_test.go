package kube

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"cke/internal/cluster"
	"cke/internal/units"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run: go test ./internal/kube -update", err)
	}
	if got != string(want) {
		t.Errorf("%s is now\n%s\nwant\n%s", name, got, want)
	}
}

func yamlOf(t *testing.T, objects ...any) string {
	t.Helper()
	var all []string
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "---\n")
}

// e is an endpoint: "cp1 10.0.0.1", with "!" before an address that is not ready
// and "-" before one that terminates.
func e(s string) cluster.Endpoint {
	node, address, _ := strings.Cut(s, " ")
	out := cluster.Endpoint{Node: cluster.NodeName(node), Ready: true, Serving: true}
	if a, ok := strings.CutPrefix(address, "!"); ok {
		address, out.Ready, out.Serving = a, false, false
	}
	if a, ok := strings.CutPrefix(address, "-"); ok {
		address, out.Terminating = a, true
	}
	out.Address = netip.MustParseAddr(address)
	return out
}

func es(all ...string) []cluster.Endpoint {
	var out []cluster.Endpoint
	for _, s := range all {
		out = append(out, e(s))
	}
	return out
}

func TestBodies(t *testing.T) {
	t.Parallel()
	full := e("cp1 10.77.0.11")
	full.Zone, full.KubernetesNode = "rack-1", "cp1.example.org"
	odd := e("Not_A_Label ::ffff:10.77.0.14")
	odd.KubernetesNode = "no node"
	for name, all := range map[string][]cluster.Endpoint{
		"ipv4.yaml":  append([]cluster.Endpoint{full, odd}, es("cp2 !10.77.0.12", "cp3 -10.77.0.13")...),
		"dual.yaml":  es("cp1 10.77.0.11", "cp2 2001:db8::2", "cp3 127.0.0.1"),
		"ipv6.yaml":  es("cp1 2001:db8::1"),
		"empty.yaml": nil,
	} {
		ok, _ := accepted(all)
		service, err := serviceBody("main")
		if err != nil {
			t.Fatal(err)
		}
		endpoints, err := endpointsBody("main", ok)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := pairOf("main", ok, "")
		if err != nil {
			t.Fatal(err)
		}
		objects := []any{service, endpoints, pair.first}
		if pair.second != nil {
			objects = append(objects, pair.second)
		}
		golden(t, name, yamlOf(t, objects...))
		for _, o := range objects {
			if live := (&unstructured.Unstructured{Object: o.(body)}); !carries(live, o.(body)) {
				t.Errorf("%s: an object does not carry itself: %v", name, o)
			}
		}
	}
}

func TestSecretBody(t *testing.T) {
	t.Parallel()
	b := cluster.Bundle{User: "app", Namespace: "shop", Name: "etcd", TTL: cluster.DefaultBundleTTL}
	v := view{export: Export{Cluster: "main", CA: []byte("CA"), Endpoints: es("cp1 10.77.0.11", "cp2 !10.77.0.12", "cp3 2001:db8::3")}}
	o, err := v.secretBody(b, credential{"app", b.TTL.String(), []byte("cert"), []byte("key")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "secret.yaml", yamlOf(t, o))
	c := installed(&unstructured.Unstructured{Object: o})
	if c.user != "app" || c.ttl != "30d" || string(c.cert) != "cert" || string(c.key) != "key" {
		t.Errorf("read back: %q %q %q %q", c.user, c.ttl, c.cert, c.key)
	}
	if said := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(said, "key") {
		t.Errorf("a credential prints as %s", said)
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	bundles := []cluster.Bundle{
		{User: "a", Namespace: "shop", Name: "etcd"}, {User: "b", Namespace: "bank", Name: "etcd-b"},
		{User: "c", Namespace: "shop", Name: "another", TTL: units.Duration(1)},
	}
	for name, o := range map[string]ManifestOptions{
		"manifests.yaml":         {},
		"manifests_bundles.yaml": {Subject: Subject{Name: "etcd-keeper", Namespace: "ops"}, Cluster: "main", Bundles: bundles},
		"manifests_user.yaml":    {Subject: Subject{Kind: "User", Name: "cke"}},
	} {
		text, err := Manifests(o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(text))
	}
	if _, err := Manifests(ManifestOptions{Subject: Subject{Kind: "Group"}}); err == nil {
		t.Error("a group without a name")
	}
	if _, err := Manifests(ManifestOptions{Bundles: bundles}); err == nil {
		t.Error("bundles of no cluster")
	}
}

// TestClustersTakeNoRightsFromEachOther: who applies one cluster's manifests leaves
// those of another, which has bundles in the same namespace, as they are.
func TestClustersTakeNoRightsFromEachOther(t *testing.T) {
	t.Parallel()
	applied := map[string]string{}
	for _, c := range []string{"main", "second"} {
		text, err := Manifests(ManifestOptions{Cluster: c, Bundles: []cluster.Bundle{{User: "a", Namespace: "shop", Name: "of-" + c}}})
		if err != nil {
			t.Fatal(err)
		}
		for object := range strings.SplitSeq(string(text), "---\n") {
			var o unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(object), &o.Object); err != nil {
				t.Fatal(err)
			}
			name := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			if before, both := applied[name]; both && before != object {
				t.Errorf("%s of %s takes the place of\n%s", name, c, before)
			}
			applied[name] = object
		}
	}
}
