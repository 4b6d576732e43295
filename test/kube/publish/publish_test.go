package publish_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
	"cke/internal/kube"
)

const cke = "{token: cke-token}"

// text reads a field of a live object.
func field(t *testing.T, o map[string]any, path ...string) string {
	t.Helper()
	v, _, err := unstructured.NestedFieldNoCopy(o, path...)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(v)
}

func TestObjectsAreAsWanted(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	if p := r.Published(); p.Trouble == "" || !p.Wanted {
		t.Errorf("published before anything was asked: %+v", p)
	}
	r.Want(withdrawn(three(), 1))
	r.shows(t, "endpoints", "")
	s.isReady(t, "cke-etcd", "10.77.0.11 !10.77.0.12 10.77.0.13")
	for _, c := range []struct {
		resource, want string
		path           []string
	}{
		{"services", "None", []string{"spec", "clusterIP"}},
		{"services", "<nil>", []string{"spec", "selector"}},
		{"services", "[map[name:etcd-client-ssl port:2379 protocol:TCP targetPort:2379]]", []string{"spec", "ports"}},
		{"endpoints", "[map[" +
			"addresses:[map[hostname:cp1 ip:10.77.0.11 nodeName:node-1] map[hostname:cp3 ip:10.77.0.13 nodeName:node-3]] " +
			"notReadyAddresses:[map[hostname:cp2 ip:10.77.0.12 nodeName:node-2]] " +
			"ports:[map[name:etcd-client-ssl port:2379 protocol:TCP]]]]", []string{"subsets"}},
		{"endpoints", "true", []string{"metadata", "labels", "endpointslice.kubernetes.io/skip-mirror"}},
		{"endpointslices", "IPv4", []string{"addressType"}},
		{"endpointslices", "cke-etcd", []string{"metadata", "labels", "kubernetes.io/service-name"}},
		{"endpointslices", "cke", []string{"metadata", "labels", "endpointslice.kubernetes.io/managed-by"}},
		{"endpointslices", "[map[name:etcd-client-ssl port:2379 protocol:TCP]]", []string{"ports"}},
	} {
		if got := field(t, s.get(t, c.resource, system, "cke-etcd"), c.path...); got != c.want {
			t.Errorf("%s %v is %s, want %s", c.resource, c.path, got, c.want)
		}
	}
	eventually(t, func() error {
		if p := r.Published(); p.Trouble != "" || fmt.Sprint(p.Ready) != "[10.77.0.11 10.77.0.13]" {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
	if got := s.ready(t, "cke-etcd-ipv6"); got != "none" {
		t.Errorf("a slice of a family that nobody has: %s", got)
	}
	r.Want(three())
	s.isReady(t, "cke-etcd", "10.77.0.11 10.77.0.12 10.77.0.13")
	eventually(t, func() error {
		if r.count("endpoints: cp2 published") == 1 && len(r.recorded()) == 4 {
			return nil
		}
		return fmt.Errorf("recorded %q", r.recorded())
	})
}

func TestEditsAndDeletionsAreRepaired(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	for _, c := range []struct{ resource, patch string }{
		{"services", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"me","team":"a"}}}`},
		{"services", `{"spec":{"ports":[{"name":"etcd-client-ssl","port":2380}]}}`},
		{"endpoints", `{"subsets":[{"addresses":[{"ip":"192.0.2.9"}],"ports":[{"name":"x","port":1}]}],"metadata":{"labels":{"team":"a"}}}`},
		{"endpoints", `{"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":null}}}`},
		{"endpointslices", `{"endpoints":[],"metadata":{"annotations":{"team":"a"},"labels":{"team":"a"}}}`},
		{"endpointslices", `{"endpoints":[{"addresses":["10.77.0.11"],"zone":"elsewhere"}]}`},
		{"endpointslices", `{"ports":[{"name":"x","port":1}]}`},
	} {
		before := s.get(t, c.resource, system, "cke-etcd")
		s.patch(t, c.resource, system, "cke-etcd", c.patch)
		eventually(t, func() error {
			after := s.get(t, c.resource, system, "cke-etcd")
			if a, b := essence(after), essence(before); a != b {
				return fmt.Errorf("%s\nis   %s\nwant %s", c.patch, a, b)
			}
			return nil
		})
		if team := field(t, s.get(t, c.resource, system, "cke-etcd"), "metadata", "labels", "team"); team != "a" {
			t.Errorf("somebody's label on %s is %s", c.resource, team)
		}
	}
	f := r.shows(t, "endpoints", "fieldsWereTakenOver")
	if !strings.Contains(f.Text, "meddler at .") {
		t.Errorf("nobody is named: %+v", f)
	}
	eventually(t, func() error { // the last answer may be on its way
		if p := r.Published(); p.Trouble != "" {
			return fmt.Errorf("what was put right is trouble: %+v", p)
		}
		return nil
	})
	for _, resource := range []string{"services", "endpoints", "endpointslices"} {
		before := essence(s.get(t, resource, system, "cke-etcd"))
		s.delete(t, resource, system, "cke-etcd")
		eventually(t, func() error {
			if o := s.get(t, resource, system, "cke-etcd"); o == nil || essence(o) != before {
				return fmt.Errorf("%s is %v", resource, o)
			}
			return nil
		})
	}
}

// essence is what CKE owns of an object, as text.
func essence(o map[string]any) string {
	if o == nil {
		return "nothing"
	}
	labels, _, _ := unstructured.NestedStringMap(o, "metadata", "labels")
	delete(labels, "team")
	delete(labels, "service.kubernetes.io/headless") // the controller manager's
	ports, _, _ := unstructured.NestedSlice(o, "spec", "ports")
	ours := slices.ContainsFunc(ports, func(p any) bool { return fmt.Sprint(p.(map[string]any)["port"]) == "2379" })
	return fmt.Sprint(labels, o["subsets"], o["endpoints"], o["ports"], o["addressType"], ours)
}

// A controller that undoes CKE's work is answered at growing intervals; a change
// of the endpoints goes out at once all the same.
func TestAFightIsFoughtSlowly(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	meddle := func() { s.patch(t, "endpointslices", system, "cke-etcd", `{"endpoints":[]}`) }
	all := "10.77.0.11 10.77.0.12 10.77.0.13"
	for range 3 {
		meddle()
		s.isReady(t, "cke-etcd", all)
	}
	r.shows(t, "endpoints", "changesAreUndone")
	meddle()
	r.Want(withdrawn(three(), 2))
	s.isReady(t, "cke-etcd", "10.77.0.11 10.77.0.12 !10.77.0.13")
	if n := r.count("taken over, and taken back"); n != 1 {
		t.Errorf("recorded %d times: %q", n, r.recorded())
	}
}

func TestNothingReadyKeepsWhatWasPublished(t *testing.T) {
	s := kubernetes(t)
	file := s.kubeconfig(t, cke)
	r := s.publish(t, file, newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	all := "10.77.0.11 10.77.0.12 10.77.0.13"
	nobody := withdrawn(withdrawn(withdrawn(three(), 0), 1), 2)
	r.Want(nobody)
	r.shows(t, "endpoints", "lastKnownGoodIsKept")
	s.delete(t, "endpointslices", system, "cke-etcd") // what is kept is also repaired
	s.isReady(t, "cke-etcd", all)
	r.stop()

	// A new cke does not know what was good, and leaves it.
	again := s.publish(t, file, newIssuer(t))
	again.Want(nobody)
	again.shows(t, "endpoints", "lastKnownGoodIsKept")
	eventually(t, func() error { // it may not have heard of every object yet
		if p := again.Published(); p.Trouble == "" || len(p.Ready) != 3 {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
	if got := s.ready(t, "cke-etcd"); got != all {
		t.Errorf("it has %s", got)
	}
	again.Want(withdrawn(three(), 0))
	s.isReady(t, "cke-etcd", "!10.77.0.11 10.77.0.12 10.77.0.13")
	again.shows(t, "endpoints", "")
}

func TestFamilies(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	v4 := []cluster.Endpoint{member(1, "10.77.0.11"), member(2, "10.77.0.12")}
	v6 := []cluster.Endpoint{member(3, "2001:db8::3")}
	for _, c := range []struct {
		what                  string
		all                   []cluster.Endpoint
		first, second, family string
	}{
		{"IPv4", v4, "10.77.0.11 10.77.0.12", "none", "IPv4"},
		{"both", slices.Concat(v4, v6), "10.77.0.11 10.77.0.12", "2001:db8::3", "IPv4"},
		{"IPv6", v6, "2001:db8::3", "none", "IPv6"},
		{"both again", slices.Concat(v6, v4), "10.77.0.11 10.77.0.12", "2001:db8::3", "IPv4"},
		{"IPv4 again", v4, "10.77.0.11 10.77.0.12", "none", "IPv4"},
		{"IPv6 at once", v6, "2001:db8::3", "none", "IPv6"},
		{"IPv4 at once", v4, "10.77.0.11 10.77.0.12", "none", "IPv4"},
	} {
		r.Want(kube.Export{Cluster: "main", Endpoints: c.all})
		s.isReady(t, "cke-etcd", c.first)
		s.isReady(t, "cke-etcd-ipv6", c.second)
		if got := field(t, s.get(t, "endpointslices", system, "cke-etcd"), "addressType"); got != c.family {
			t.Errorf("%s: the first slice is %s", c.what, got)
		}
	}
	r.shows(t, "endpoints", "")
}

func TestRefusedAddressesAreNamed(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(kube.Export{Cluster: "main", Endpoints: []cluster.Endpoint{
		member(1, "10.77.0.11"), member(2, "127.0.0.2"), member(3, "169.254.3.4"), member(4, "fe80::4"), member(5, "ff02::5"),
	}})
	s.isReady(t, "cke-etcd", "10.77.0.11")
	c := r.shows(t, "endpoints", "addressIsRefusedByKubernetes")
	for _, a := range []string{"cp2 (127.0.0.2)", "cp3 (169.254.3.4)", "cp4 (fe80::4)", "cp5 (ff02::5)"} {
		if !strings.Contains(c.Text, a) {
			t.Errorf("%s is not named: %s", a, c.Text)
		}
	}
	eventually(t, func() error { // it may not have heard of every object yet
		if p := r.Published(); p.Trouble != "" || len(p.Ready) != 1 {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
}

// One Kubernetes has the endpoints of one cluster. Two under one field manager
// would undo each other's work for ever, without a conflict.
func TestAnotherClustersObjectsAreLeft(t *testing.T) {
	s := kubernetes(t)
	file := s.kubeconfig(t, cke)
	r := s.publish(t, file, newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	other := s.publish(t, file, newIssuer(t))
	other.Want(kube.Export{Cluster: "second", Endpoints: []cluster.Endpoint{member(9, "10.77.0.99")}})
	c := other.shows(t, "endpoints", "objectIsForeign")
	if !strings.Contains(c.Text, `cluster "main"'s`) {
		t.Errorf("condition %+v", c)
	}
	if got := s.ready(t, "cke-etcd"); got != "10.77.0.11 10.77.0.12 10.77.0.13" {
		t.Errorf("it has %s", got)
	}
}
