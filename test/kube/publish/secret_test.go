package publish_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/kube"
	"cke/internal/units"
)

func withBundle(e kube.Export, b cluster.Bundle) kube.Export {
	e.Bundles = []cluster.Bundle{b}
	return e
}

// secret reads a key of the bundle's Secret.
func (s *server) secret(t *testing.T, key string) string {
	t.Helper()
	o := s.get(t, "secrets", "shop", "etcd")
	if o == nil {
		return ""
	}
	raw, err := base64.StdEncoding.DecodeString(field(t, o, "data", key))
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func TestABundlesLife(t *testing.T) {
	s := kubernetes(t)
	a := newIssuer(t)
	file := s.kubeconfig(t, cke)
	r := s.publish(t, file, a)
	r.Want(withBundle(withdrawn(three(), 1), shop()))
	r.shows(t, "secret shop/etcd", "")
	if got := s.secret(t, "endpoints"); got != "https://10.77.0.11:2379,https://10.77.0.13:2379" {
		t.Errorf("endpoints %q", got)
	}
	if got := s.secret(t, "ca.crt"); got != string(three().CA) {
		t.Errorf("ca.crt %q", got)
	}
	o := s.get(t, "secrets", "shop", "etcd")
	if got := field(t, o, "type"); got != "kubernetes.io/tls" {
		t.Errorf("type %s", got)
	}
	key := s.secret(t, "tls.key")

	// Endpoints change, the key stays; also across a restart.
	r.Want(withBundle(three(), shop()))
	urls := "https://10.77.0.11:2379,https://10.77.0.12:2379,https://10.77.0.13:2379"
	eventually(t, func() error { return same(s.secret(t, "endpoints"), urls) })
	r.stop()
	r = s.publish(t, file, a)
	r.Want(withBundle(three(), shop()))
	r.shows(t, "secret shop/etcd", "")
	if s.secret(t, "tls.key") != key || a.issued() != 1 {
		t.Errorf("issued %d times", a.issued())
	}

	// Damaged, deleted, or for another user or time: a new one.
	renewed := func(why string) {
		t.Helper()
		eventually(t, func() error {
			if k := s.secret(t, "tls.key"); k == key || !strings.Contains(k, "PRIVATE KEY") {
				return fmt.Errorf("%s: not renewed", why)
			}
			return nil
		})
		key = s.secret(t, "tls.key")
	}
	s.patch(t, "secrets", "shop", "etcd", `{"data":{"tls.key":"bm8="}}`)
	renewed("damaged")
	s.delete(t, "secrets", "shop", "etcd")
	renewed("deleted")
	long := shop()
	long.TTL = units.Duration(48 * time.Hour)
	r.Want(withBundle(three(), long))
	renewed("longer")
	s.patch(t, "secrets", "shop", "etcd", `{"data":{"extra":"bm8="},"metadata":{"labels":{"team":"a"}}}`)

	// Removed: the Secret goes, then the record.
	long.Removing = true
	r.Want(withBundle(three(), long))
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return same(fmt.Sprint(r.forgot), "[shop/etcd]")
	})
	if o := s.get(t, "secrets", "shop", "etcd"); o != nil {
		t.Error("the Secret is still there")
	}
	r.Want(three())
	eventually(t, func() error {
		for _, c := range r.Conditions() {
			if strings.HasPrefix(c.Subject, "secret") {
				return fmt.Errorf("condition %+v", c)
			}
		}
		return nil
	})
	for _, said := range append(r.recorded(), fmt.Sprint(r.Conditions())) {
		if strings.Contains(said, "PRIVATE") || strings.Contains(said, "LS0tLS1") {
			t.Errorf("a key is in %q", said)
		}
	}
}

func same(got, want string) error {
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

func TestAForeignSecretIsLeft(t *testing.T) {
	s := kubernetes(t)
	s.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: etcd, namespace: shop}\ndata: {mine: bWluZQ==}\n")
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(withBundle(three(), shop()))
	r.shows(t, "secret shop/etcd", "secretIsForeign")
	r.shows(t, "endpoints", "")
	gone := shop()
	gone.Removing = true
	r.Want(withBundle(three(), gone))
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return same(fmt.Sprint(r.forgot), "[shop/etcd]")
	})
	if got := s.secret(t, "mine"); got != "mine" {
		t.Errorf("the Secret has %q", got)
	}
	// Once its owner takes it away, the bundle comes.
	r.Want(withBundle(three(), shop()))
	s.delete(t, "secrets", "shop", "etcd")
	r.shows(t, "secret shop/etcd", "")
}

func TestAMissingNamespaceIsNamed(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, "{token: other-token}"), newIssuer(t))
	b := shop()
	b.Namespace = fmt.Sprintf("late-%d", time.Now().UnixNano())
	r.Want(withBundle(three(), b))
	c := r.shows(t, "secret "+b.Key(), "namespaceIsMissing")
	if c.Hint != "kubectl create namespace "+b.Namespace {
		t.Errorf("hint %q", c.Hint)
	}
	s.namespace(t, b.Namespace)
	r.shows(t, "secret "+b.Key(), "")
}
