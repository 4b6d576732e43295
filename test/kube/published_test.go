package kube

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/drive"
	"cke/test/kube/k8s"
)

// Where the endpoints are.
const (
	servicePath   = "/api/v1/namespaces/kube-system/services/cke-etcd"
	endpointsPath = "/api/v1/namespaces/kube-system/endpoints/cke-etcd"
	slicesPath    = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
	ofService     = "?labelSelector=kubernetes.io/service-name%3Dcke-etcd"
	serviceName   = "cke-etcd.kube-system.svc.cluster.local"
)

// newPublished boots machines with a cluster on some of them, and an API server
// on it that CKE is told of. CKE may do there what its own manifests let it.
func newPublished(t *testing.T, machines int, nodes ...int) *env {
	t.Helper()
	e := newEnv(t, machines, onBox)
	e.found(nodes...)
	all := make([]int, machines) // the members may move to any of them
	for i := range all {
		all[i] = i + 1
	}
	e.serve(all...)
	e.publish(nodes...)
	return e
}

// publish tells CKE of the API server.
func (e *env) publish(nodes ...int) {
	e.t.Helper()
	e.grant()
	config, err := e.Kubeconfig("cke")
	e.must(err)
	e.kubernetes = "kubeconfig: " + config
	e.Set(e.yaml(nodes...))
	e.shows(nodes...)
}

// grant gives user cke in Kubernetes exactly what its manifests say.
func (e *env) grant() {
	e.t.Helper()
	e.apply(e.CLI("kubernetes", "manifests", "--user", "cke"), "apply", "-f", "-")
}

// object is what the tests look at in one of Kubernetes'.
type object struct {
	Metadata struct {
		Name        string            `json:"name"`
		UID         string            `json:"uid"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// slice is an EndpointSlice.
type slice struct {
	object
	AddressType string     `json:"addressType"`
	Endpoints   []endpoint `json:"endpoints"`
	Ports       []port     `json:"ports"`
}

type port struct {
	Name     string `json:"name"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

type endpoint struct {
	Addresses  []string `json:"addresses"`
	Hostname   string   `json:"hostname"`
	NodeName   string   `json:"nodeName"`
	Zone       string   `json:"zone"`
	Conditions struct {
		Ready       bool `json:"ready"`
		Serving     bool `json:"serving"`
		Terminating bool `json:"terminating"`
	} `json:"conditions"`
}

// ready are the addresses that clients are sent to, sorted.
func (s slice) ready() []string {
	var out []string
	for _, ep := range s.Endpoints {
		if ep.Conditions.Ready {
			out = append(out, ep.Addresses...)
		}
	}
	slices.Sort(out)
	return out
}

// oldEndpoints are the deprecated Endpoints.
type oldEndpoints struct {
	object
	Subsets []struct {
		Addresses         []oldAddress `json:"addresses"`
		NotReadyAddresses []oldAddress `json:"notReadyAddresses"`
		Ports             []port       `json:"ports"`
	} `json:"subsets"`
}

type oldAddress struct {
	IP       string `json:"ip"`
	Hostname string `json:"hostname"`
	NodeName string `json:"nodeName"`
}

// ready are the addresses of all subsets, sorted.
func (o oldEndpoints) ready() []string {
	var out []string
	for _, s := range o.Subsets {
		for _, a := range s.Addresses {
			out = append(out, a.IP)
		}
	}
	slices.Sort(out)
	return out
}

// slices are all those of the Service, whoever made them.
func (e *env) slices(ctx context.Context) ([]slice, error) {
	var list struct {
		Items []slice `json:"items"`
	}
	err := e.client.Get(ctx, slicesPath+ofService, &list)
	return list.Items, err
}

// isReady checks that exactly these machines are ready, in the one slice and in
// the Endpoints.
func (e *env) isReady(nodes ...int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	want := e.addrs(nodes...)
	slices.Sort(want)
	all, err := e.slices(ctx)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("there are %d slices", len(all))
	}
	var old oldEndpoints
	if err := e.client.Get(ctx, endpointsPath, &old); err != nil {
		return err
	}
	if got := all[0].ready(); !slices.Equal(got, want) {
		return fmt.Errorf("ready in the slice are %v, want %v", got, want)
	}
	if got := old.ready(); !slices.Equal(got, want) {
		return fmt.Errorf("ready in the Endpoints are %v, want %v", got, want)
	}
	return e.client.Get(ctx, servicePath, nil)
}

// shows waits until exactly these machines are ready.
func (e *env) shows(nodes ...int) {
	e.t.Helper()
	e.Eventually(fmt.Sprintf("Kubernetes shows %v", nodes), func() error { return e.isReady(nodes...) })
}

// condition waits until the status, as ckecli prints it, has this condition of a
// subject, and returns it.
func (e *env) condition(subject, rule string) cluster.Condition {
	e.t.Helper()
	var found cluster.Condition
	e.Eventually("the status says "+rule, func() error {
		all := e.conditions()
		for _, c := range all {
			if c.Subject == subject && c.Rule == rule && !c.OK {
				found = c
				return nil
			}
		}
		return fmt.Errorf("conditions are %+v", all)
	})
	e.t.Logf("%s: %s: %s (%s)", found.Subject, found.Rule, found.Text, found.Hint)
	if found.Text == "" || found.Since.IsZero() {
		e.t.Errorf("condition %s says too little: %+v", rule, found)
	}
	return found
}

// clears waits until a condition has passed and the subject is known again.
func (e *env) clears(subject, rule string) {
	e.t.Helper()
	e.Eventually("the status says no more "+rule, func() error {
		all := e.conditions()
		known := false
		for _, c := range all {
			known = known || c.Subject == subject
			if c.Subject == subject && c.Rule == rule && !c.OK {
				return fmt.Errorf("%s: %s", c.Rule, c.Text)
			}
		}
		if !known {
			return fmt.Errorf("nothing is said of %s", subject)
		}
		return nil
	})
}

// well waits until nothing of Kubernetes is wrong.
func (e *env) well() {
	e.t.Helper()
	e.Eventually("the status says that all is well", func() error {
		all := e.conditions()
		for _, c := range all {
			if !c.OK {
				return fmt.Errorf("conditions are %+v", all)
			}
		}
		if len(all) == 0 {
			return fmt.Errorf("there are no conditions")
		}
		return nil
	})
}

func (e *env) conditions() []cluster.Condition {
	e.t.Helper()
	s := drive.Decode[api.Status](e.t, e.CLI("status", "--output", "json"))
	if s.Kubernetes == nil {
		return nil
	}
	return s.Kubernetes.Conditions
}

// asRoot issues a certificate of root's into files, and returns etcdctl's flags
// for it.
func (e *env) asRoot() []string {
	e.t.Helper()
	e.CLI("etcd", "root-issue", "--output", "file")
	return []string{"--cacert=" + e.file("etcd-ca.crt"), "--cert=" + e.file("etcd-root.crt"), "--key=" + e.file("etcd-root.key")}
}

// startDNS starts CoreDNS on the box.
func (e *env) startDNS() *net.Resolver {
	e.t.Helper()
	_, err := e.StartCoreDNS(e.ctx(), e.lab.Box().Addr())
	e.must(err)
	return k8s.Resolver(e.lab.Box().Addr())
}

// resolved are the addresses that the name has now, sorted; of one that does
// not exist there are none.
func resolved(r *net.Resolver) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	addrs, err := r.LookupHost(ctx, serviceName+".")
	if dns, ok := err.(*net.DNSError); ok && dns.IsNotFound {
		return nil, nil
	}
	slices.Sort(addrs)
	return addrs, err
}

// labelled says which of these an object lacks.
func (o object) labelled(want map[string]string) error {
	have := maps.Clone(o.Metadata.Labels)
	if have == nil {
		have = map[string]string{}
	}
	maps.Copy(have, o.Metadata.Annotations)
	var missing []string
	for k, v := range want {
		if have[k] != v {
			missing = append(missing, k+"="+v)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s lacks %s", o.Metadata.Name, strings.Join(missing, ", "))
	}
	return nil
}
