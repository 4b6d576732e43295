package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCarries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live, want string
		ok         bool
	}{
		{"{a: 1, b: 2}", "{a: 1}", true},
		{"{a: 2}", "{a: 1}", false},
		{"{}", "{a: 1}", false},
		{"{a: {x: 1, y: 2}}", "{a: {x: 1}}", true},
		{"{a: text}", "{a: {x: 1}}", false},
		{"{a: {}}", "{a: text}", false},
		{"{a: null}", "{a: []}", true},
		{"{}", "{a: []}", true},
		{"{a: [1]}", "{a: []}", false},
		{"{a: [1, 2]}", "{a: [2, 1]}", true},
		{"{a: [1, 2]}", "{a: [1]}", false},
		{"{a: [{x: 1, y: 2}]}", "{a: [{x: 1}]}", false}, // the whole list is CKE's
		{"{a: [{x: [1, 2], y: 3}]}", "{a: [{y: 3, x: [2, 1]}]}", true},
		{"{kind: Service, a: [{x: 2}, {x: 1, y: 2}]}", "{kind: Service, a: [{x: 1}]}", true},
		{"{kind: Service, a: [{x: 2}]}", "{kind: Service, a: [{x: 1}]}", false},
		{"{kind: Service}", "{kind: Service, a: [{x: 1}]}", false},
	} {
		live := &unstructured.Unstructured{Object: parse(t, c.live)}
		if carries(live, parse(t, c.want)) != c.ok {
			t.Errorf("%s carries %s: %v", c.live, c.want, !c.ok)
		}
	}
	if carries(nil, body{}) {
		t.Error("nothing carries something")
	}
}

// A port with CKE's name and another number cannot be mended by an apply.
func TestMendedPorts(t *testing.T) {
	t.Parallel()
	want, err := serviceBody("main")
	if err != nil {
		t.Fatal(err)
	}
	const ours = "{name: etcd-client-ssl, port: 2379, protocol: TCP, targetPort: 2379}"
	for _, c := range []struct{ live, ports string }{
		{"[" + ours + "]", ""},
		{"[{name: other, port: 1, protocol: TCP}, " + ours + "]", ""},
		{"[{name: renamed, port: 2379, protocol: TCP}]", ""}, // the same entry: an apply will do
		{"[{name: etcd-client-ssl, port: 2380, protocol: TCP}]", "[" + ours + "]"},
		{"[{name: etcd-client-ssl, port: 2379, protocol: UDP}]", "[" + ours + "]"},
		{"[{name: etcd-client-ssl, port: 2380, protocol: TCP}, {name: other, port: 1, protocol: TCP}]",
			"[" + ours + ", {name: other, port: 1, protocol: TCP}]"},
	} {
		var live unstructured.Unstructured
		if err := live.UnmarshalJSON(asJSON(t, "{apiVersion: v1, kind: Service, spec: {ports: "+c.live+"}}")); err != nil {
			t.Fatal(err)
		}
		got := mendedPorts(&live, want)
		if c.ports == "" {
			if got != nil {
				t.Errorf("%s: %v", c.live, got)
			}
			continue
		}
		if text(map[string]any(got)) != text(parse(t, "{spec: {ports: "+c.ports+"}}")) {
			t.Errorf("%s: %v, want %s", c.live, got, c.ports)
		}
	}
}

func asJSON(t *testing.T, s string) []byte {
	t.Helper()
	out, err := yaml.YAMLToJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
