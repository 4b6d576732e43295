package app

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/reconcile"
)

// seen is a view of three members, an API server on two machines and a gateway on
// one of them.
func seen() reconcile.View {
	var v reconcile.View
	v.Wanted.Spec = cluster.Spec{Name: "main", Nodes: []cluster.Node{
		{Hostname: "cp1", Address: netip.MustParseAddr("10.77.0.11"), APIServer: true, Gateway: true},
		{Hostname: "cp2", Address: netip.MustParseAddr("fd00::12"), APIServer: true},
		{Hostname: "cp3", Address: netip.MustParseAddr("10.77.0.13")},
	}}
	for _, n := range v.Wanted.Spec.Nodes {
		v.Endpoints = append(v.Endpoints, cluster.Endpoint{Node: n.Hostname, Address: n.Address, Ready: true, Serving: true})
	}
	return v
}

func TestEtcdConfig(t *testing.T) {
	t.Parallel()
	members := []string{"https://10.77.0.11:2379", "https://[fd00::12]:2379", "https://10.77.0.13:2379"}
	local := []string{"https://127.0.0.1:12379"}
	for name, c := range map[string]struct {
		node      string
		gateway   bool
		change    func(*reconcile.View)
		want      []string
		warns     string // part of the one warning
		code, err string
	}{
		"any node":                    {want: members},
		"a node with a gateway":       {node: "cp1", want: local},
		"by its address":              {node: "10.77.0.11", want: local},
		"a node without one":          {node: "cp2", want: members},
		"a node without API server":   {node: "cp3", want: members, warns: "node cp3 has no apiserver: true"},
		"the gateway, wherever":       {gateway: true, want: local, warns: "node cp2 has an API server and no gateway"},
		"the gateway of its node":     {node: "cp1", gateway: true, want: local},
		"no such node":                {node: "cp9", code: api.CodeNotFound, err: `cluster main has no node "cp9"`},
		"a gateway that is not there": {node: "cp2", gateway: true, code: api.CodeRefused, err: "no gateway runs on cp2"},
		"no gateway anywhere": {
			gateway: true, change: func(v *reconcile.View) { v.Wanted.Spec.Nodes[0].Gateway = false },
			code: api.CodeRefused, err: "no gateway runs on any node",
		},
		"another port": {
			node: "cp1", change: func(v *reconcile.View) { v.Wanted.Spec.Kubernetes.GatewayPort = 4001 },
			want: []string{"https://127.0.0.1:4001"},
		},
		"no API server anywhere": {
			change: func(v *reconcile.View) {
				v.Wanted.Spec.Nodes[0].APIServer, v.Wanted.Spec.Nodes[1].APIServer = false, false
			},
			want: members, warns: "no node has apiserver: true",
		},
		"one does not serve": {
			change: func(v *reconcile.View) { v.Endpoints[1].Ready, v.Endpoints[1].Serving = false, false },
			want:   []string{members[0], members[2]}, warns: "the member on cp2 does not serve now",
		},
		"one is about to go": {
			change: func(v *reconcile.View) { v.Endpoints[0].Ready, v.Endpoints[0].Terminating = false, true },
			want:   members[1:], warns: "the member on cp1 is about to go",
		},
		"none serves": {
			change: func(v *reconcile.View) {
				v.State.Etcd.Err = "connection refused"
				for i := range v.Endpoints {
					v.Endpoints[i].Ready = false
				}
			},
			code: api.CodeRefused, err: "no member serves: connection refused",
		},
		"no voter": {change: func(v *reconcile.View) { v.Endpoints = nil }, code: api.CodeRefused, err: "no member serves: there is no voter"},
		"none serves, and a gateway": {
			node: "cp1", change: func(v *reconcile.View) { v.Endpoints = nil }, want: local,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := seen()
			if c.change != nil {
				c.change(&v)
			}
			got, err := etcdConfig(v, c.node, c.gateway)
			var e *api.Error
			if errors.As(err, &e); c.code != "" && (e == nil || e.Code != c.code || e.Message != c.err || e.Hint == "") || c.code == "" && err != nil {
				t.Fatalf("%v", err)
			}
			if c.code != "" {
				return
			}
			if !slices.Equal(got.Endpoints, c.want) || got.Gateway != (len(c.want) == 1) {
				t.Errorf("endpoints %v, gateway %v", got.Endpoints, got.Gateway)
			}
			if all := strings.Join(got.Warnings, "\n"); len(got.Warnings) > 1 || (c.warns == "") != (all == "") || !strings.Contains(all, c.warns) {
				t.Errorf("warnings %q", got.Warnings)
			}
			if got.CompactionInterval != "0" {
				t.Errorf("compaction interval %q", got.CompactionInterval)
			}
		})
	}
}

func TestEtcdConfigNamesTheFilesThatAreInstalled(t *testing.T) {
	t.Parallel()
	for directory, want := range map[string]string{"": "/etc/kubernetes/pki/", "/etc/kubernetes/etcd": "/etc/kubernetes/etcd/"} {
		v := seen()
		v.Wanted.Spec.Kubernetes.APIServer.Directory = directory
		got, err := etcdConfig(v, "", false)
		if err != nil || got.CAFile != want+"etcd-ca.crt" || got.CertFile != want+"apiserver-etcd-client.crt" || got.KeyFile != want+"apiserver-etcd-client.key" {
			t.Errorf("%q: %+v, %v", directory, got, err)
		}
	}
}

func TestKubernetesStatusBeginsWithWhatIsWrong(t *testing.T) {
	t.Parallel()
	v := seen()
	conditions := []cluster.Condition{{Subject: "secret b/x", OK: true}, {Subject: "endpoints", OK: true}, {Subject: "secret a/x", Rule: "accessIsForbidden"}}
	if got := kubernetesStatus(v, conditions); got != nil {
		t.Errorf("without a kubeconfig: %+v", got)
	}
	v.Wanted.Spec.Kubernetes.Kubeconfig = cluster.InCluster
	want := &api.KubernetesStatus{
		Endpoints:  v.Endpoints,
		Conditions: []cluster.Condition{conditions[2], conditions[1], conditions[0]},
	}
	if diff := cmp.Diff(want, kubernetesStatus(v, conditions), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if conditions[0].Subject != "secret b/x" {
		t.Error("the conditions given were sorted in place")
	}
}

// A user that is being removed is no stranger: its name and keys may be had again.
func TestClash(t *testing.T) {
	t.Parallel()
	st := cluster.State{}
	st.Etcd.Auth = cluster.Auth{
		Users: map[string][]string{"gone": {"gone"}, "mine": nil},
		Roles: map[string][]cluster.Permission{"gone": {{Key: "/gone/", RangeEnd: "/gone0", Type: "READWRITE"}}},
	}
	for _, u := range []cluster.User{{Name: "gone", Prefix: "/gone/"}, {Name: "gone", Prefix: "/else/"}, {Name: "next", Prefix: "/gone/"}} {
		err := clash(u, st)
		if foreign := u.Name == "gone" && u.Prefix == "/gone/"; (err == nil) != foreign {
			t.Errorf("made by hand, %v: %v", u, err)
		}
		removed := st
		removed.RemovedUsers = []cluster.RemovedUser{{User: cluster.User{Name: "gone", Prefix: "/gone/"}}}
		if err := clash(u, removed); err != nil {
			t.Errorf("removed, %v: %v", u, err)
		}
	}
}
