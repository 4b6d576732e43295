package publish_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func (r *run) hasForgotten(bundle string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.forgot, bundle)
}

// TestABundleWhoseNamespaceIsGone: with the namespace goes what let CKE in there.
// Its bundle can be removed all the same, but no Secret that may still be there is
// forgotten.
func TestABundleWhoseNamespaceIsGone(t *testing.T) {
	const subject = "secret shop/etcd"
	s := kubernetes(t)
	s.delete(t, "rolebindings", "shop", "cke-bundles-main")
	removed := shop()
	removed.Removing = true
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(withBundle(three(), removed))
	if c := r.shows(t, subject, "permissionIsMissing"); !strings.Contains(c.Text, "list secrets in shop") {
		t.Errorf("condition %+v", c)
	}
	// Nor is one that CKE may not know to be gone.
	s.grant(t, grant{"get", "namespaces"}.without)
	s.endNamespace(t, "shop")
	r.Want(withBundle(withdrawn(three(), 0), removed))
	s.isReady(t, "cke-etcd", "!10.77.0.11 10.77.0.12 10.77.0.13")
	r.stop()
	if r.hasForgotten("shop/etcd") {
		t.Error("forgotten, though nobody said that it is gone")
	}
	s.namespace(t, "shop")
	s.grant(t, nil)
	s.endNamespace(t, "shop")

	r = s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(withBundle(three(), shop()))
	if c := r.shows(t, subject, "namespaceIsMissing"); !strings.Contains(c.Hint, "kubectl create namespace shop") {
		t.Errorf("condition %+v", c)
	}
	if r.hasForgotten("shop/etcd") {
		t.Error("forgotten, though it is wanted")
	}
	r.Want(withBundle(three(), removed))
	eventually(t, func() error {
		if !r.hasForgotten("shop/etcd") {
			return errors.New("the bundle is not forgotten")
		}
		return nil
	})
}
