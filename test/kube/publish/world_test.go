package publish_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"cke/internal/cluster"
	"cke/internal/kube"
	"cke/internal/pki"
	"cke/internal/units"
)

const system = "kube-system"

// clean removes what an earlier test left.
func (s *server) clean(t *testing.T) {
	t.Helper()
	for _, o := range [][3]string{
		{"services", system, "cke-etcd"}, {"endpoints", system, "cke-etcd"},
		{"endpointslices", system, "cke-etcd"}, {"endpointslices", system, "cke-etcd-ipv6"},
		{"secrets", "shop", "etcd"},
	} {
		s.delete(t, o[0], o[1], o[2])
	}
	s.namespace(t, "shop")
	s.grant(t, nil)
}

func (s *server) namespace(t *testing.T, name string) {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	_, err := s.admin.Resource(gvr("namespaces")).Create(t.Context(), o, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// endNamespace does what the controllers do, which do not run: what is in the
// namespace goes first.
func (s *server) endNamespace(t *testing.T, name string) {
	t.Helper()
	s.delete(t, "secrets", name, "etcd")
	s.delete(t, "rolebindings", name, "cke-bundles-main")
	s.delete(t, "roles", name, "cke-bundles-main")
	s.delete(t, "namespaces", "", name)
	all := s.admin.Resource(gvr("namespaces"))
	o, err := all.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	unstructured.RemoveNestedField(o.Object, "spec", "finalizers")
	if _, err := all.Update(t.Context(), o, metav1.UpdateOptions{}, "finalize"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if s.get(t, "namespaces", "", name) != nil {
			return errors.New("the namespace is still there")
		}
		return nil
	})
}

func (s *server) delete(t *testing.T, resource, ns, name string) {
	t.Helper()
	err := s.admin.Resource(gvr(resource)).Namespace(ns).Delete(t.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

// get reads an object; nil if it is not there.
func (s *server) get(t *testing.T, resource, ns, name string) map[string]any {
	t.Helper()
	o, err := s.admin.Resource(gvr(resource)).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return o.Object
}

func (s *server) patch(t *testing.T, resource, ns, name, patch string) {
	t.Helper()
	_, err := s.admin.Resource(gvr(resource)).Namespace(ns).Patch(t.Context(), name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: "meddler"})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) apply(t *testing.T, manifest string) {
	t.Helper()
	for part := range strings.SplitSeq(manifest, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(part), &o.Object); err != nil {
			t.Fatal(err)
		}
		resource := strings.TrimSuffix(strings.ToLower(o.GetKind()), "s") + "s"
		_, err := s.admin.Resource(gvr(resource)).Namespace(o.GetNamespace()).Apply(t.Context(), o.GetName(), o,
			metav1.ApplyOptions{FieldManager: "admin", Force: true})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shop is the bundle of the tests.
func shop() cluster.Bundle {
	return cluster.Bundle{User: "shop", Namespace: "shop", Name: "etcd", TTL: units.Duration(24 * time.Hour)}
}

// grant gives the user cke what the manifests say, changed by edit.
func (s *server) grant(t *testing.T, edit func(string) string) {
	t.Helper()
	text, err := kube.Manifests(kube.ManifestOptions{
		Subject: kube.Subject{Kind: "User", Name: "cke"}, Cluster: "main", Bundles: []cluster.Bundle{shop()},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest := string(text)
	if edit != nil {
		manifest = edit(manifest)
	}
	s.apply(t, manifest)
}

// kubeconfig writes a kubeconfig with this user entry.
func (s *server) kubeconfig(t *testing.T, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	s.rewrite(t, path, user)
	return path
}

func (s *server) rewrite(t *testing.T, path, user string) {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: test, user: %s}]
`, s.url(), base64.StdEncoding.EncodeToString(s.ca.certPEM), user)
	writeFile(t, path, text)
}

// run is a Publisher at work.
type run struct {
	*kube.Publisher
	mu      sync.Mutex
	records []string
	forgot  []string
	changes int
	cancel  context.CancelFunc
	done    chan struct{}
}

// issuer issues bundles from a CA of CKE's own kind.
type issuer struct {
	ca *pki.CA
	mu sync.Mutex
	n  int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	ca, err := pki.NewCA("main", pki.Client, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{ca: ca}
}

func (i *issuer) IssueBundle(user string, ttl units.Duration, now time.Time) (cert, key []byte, err error) {
	i.mu.Lock()
	i.n++
	i.mu.Unlock()
	c, err := i.ca.Issue(pki.ClientRequest(user, ttl.Std()), now)
	return c.CertPEM, c.KeyPEM, err
}

func (i *issuer) issued() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.n
}

func (i *issuer) CheckBundle(user string, cert, key []byte, now time.Time) []string {
	if _, err := pki.LoadCA(pki.Client, cert, key); err == nil {
		return []string{"it is a CA"}
	}
	if !bytes.Contains(cert, []byte("BEGIN CERTIFICATE")) || !bytes.Contains(key, []byte("PRIVATE KEY")) {
		return []string{"it is damaged"}
	}
	return nil
}

func (s *server) publish(t *testing.T, kubeconfig string, a kube.Authority) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{cancel: cancel, done: make(chan struct{})}
	r.Publisher = kube.New(kube.Options{
		Kubeconfig: kubeconfig, Authority: a,
		Changed: func() { r.mu.Lock(); r.changes++; r.mu.Unlock() },
		Forget: func(_ context.Context, b cluster.Bundle) error {
			r.mu.Lock()
			r.forgot = append(r.forgot, b.Key())
			r.mu.Unlock()
			return nil
		},
		Recorded: func(what string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				what += ": " + err.Error()
			}
			r.records = append(r.records, what)
		},
	})
	go func() {
		defer close(r.done)
		r.Run(ctx)
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *run) stop() {
	r.cancel()
	<-r.done
}

func (r *run) recorded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// count is how often a line with these words was recorded.
func (r *run) count(words string) int {
	n := 0
	for _, l := range r.recorded() {
		if strings.Contains(l, words) {
			n++
		}
	}
	return n
}

// shows waits for a condition of a subject: its rule, or "" for OK.
func (r *run) shows(t *testing.T, subject, rule string) cluster.Condition {
	t.Helper()
	var found cluster.Condition
	eventually(t, func() error {
		for _, c := range r.Conditions() {
			if c.Subject == subject && c.Rule == rule {
				found = c
				return nil
			}
		}
		return fmt.Errorf("%s shows no %q in %+v; recorded %q", subject, rule, r.Conditions(), r.recorded())
	})
	return found
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	if err := until(patience, try); err != nil {
		t.Fatal(err)
	}
}

// member is a ready endpoint.
func member(n int, address string) cluster.Endpoint {
	return cluster.Endpoint{
		Member: cluster.MemberID(n), Node: cluster.NodeName(fmt.Sprintf("cp%d", n)), Address: netip.MustParseAddr(address),
		Zone: "rack 1", KubernetesNode: fmt.Sprintf("node-%d", n), Ready: true, Serving: true,
	}
}

func three() kube.Export {
	return kube.Export{Cluster: "main", CA: []byte("-----BEGIN CERTIFICATE-----\nserver CA\n"), Endpoints: []cluster.Endpoint{
		member(1, "10.77.0.11"), member(2, "10.77.0.12"), member(3, "10.77.0.13"),
	}}
}

// withdrawn is an export in which one endpoint is not ready any more.
func withdrawn(e kube.Export, i int) kube.Export {
	e.Endpoints = slices.Clone(e.Endpoints)
	e.Endpoints[i].Ready, e.Endpoints[i].Serving = false, false
	return e
}

// ready lists a live slice's endpoints as "address" or "!address".
func (s *server) ready(t *testing.T, name string) string {
	t.Helper()
	o := s.get(t, "endpointslices", system, name)
	if o == nil {
		return "none"
	}
	var out []string
	list, _ := o["endpoints"].([]any) // null when it is empty
	for _, e := range list {
		e := e.(map[string]any)
		a := e["addresses"].([]any)[0].(string)
		if r, _, _ := unstructured.NestedBool(e, "conditions", "ready"); !r {
			a = "!" + a
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

func (s *server) isReady(t *testing.T, name, want string) {
	t.Helper()
	eventually(t, func() error {
		if got := s.ready(t, name); got != want {
			return errors.New(name + " has " + got + ", want " + want)
		}
		return nil
	})
}

// writeFile replaces a file as a careful program does.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
