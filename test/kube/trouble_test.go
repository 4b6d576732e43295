package kube

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/test/kube/k8s"
)

// TestTroubleInKubernetes: whatever is wrong there is shown with its reason,
// keeps etcd's care from nothing, and passes by itself.
func TestTroubleInKubernetes(t *testing.T) {
	e := newEnv(t, 3, onBox)
	e.found(1, 2, 3)
	s := e.serve(1, 2, 3)
	e.publish(1, 2, 3)
	t.Run("another field manager", func(t *testing.T) { e.in(t).isContested() })
	t.Run("slow", func(t *testing.T) { e.in(t).isSlow(s) })
	t.Run("forbidden", func(t *testing.T) { e.in(t).isForbidden() })
	t.Run("credentials", func(t *testing.T) { e.in(t).isLoggedOut() })
	t.Run("no namespace", func(t *testing.T) { e.in(t).hasNoNamespace() })
	t.Run("down", func(t *testing.T) { e.in(t).isDown(s) })
}

const endpointsSubject = "endpoints"

// killed ends a member's process and waits until CKE shows that another one runs.
func (e *env) killed(i int) {
	e.t.Helper()
	id := e.MemberID(e.name(i))
	before := e.sh(i, "systemctl show -p MainPID --value etcd-main.service")
	e.sh(i, "systemctl kill -s KILL etcd-main.service")
	e.Until("the member runs again", func(s api.Status) error {
		if now := e.sh(i, "systemctl show -p MainPID --value etcd-main.service"); now == before || now == "0" {
			return fmt.Errorf("its pid is %s", now)
		}
		for _, n := range s.Nodes {
			if n.Hostname == e.name(i) && n.Member != nil && n.Member.ID == id && n.Member.Healthy {
				return nil
			}
		}
		return errors.New("it does not serve yet")
	})
}

// cared has CKE do something for etcd that it takes its loop to do.
func (e *env) cared(user string) {
	e.t.Helper()
	e.CLI("etcd", "user-add", user, "/"+user+"/")
	c := e.Connect(e.UserCert(user), e.addrs(1, 2, 3)...)
	e.Eventually("the user writes", func() error { // who leads may have been killed just now
		_, err := c.Put(e.ctx(), "/"+user+"/x", "y")
		return err
	})
}

func (e *env) isSlow(s *k8s.Process) {
	e.must(s.Signal(syscall.SIGSTOP))
	e.killed(2) // a change to tell, and nobody to be told
	e.condition(endpointsSubject, "apiServerIsSlow")
	e.cared("slow")
	e.must(s.Signal(syscall.SIGCONT))
	e.clears(endpointsSubject, "apiServerIsSlow")
	e.shows(1, 2, 3)
}

// isForbidden takes CKE's rights away while it has something to repair.
func (e *env) isForbidden() {
	bindings := strings.Fields(e.kubectl("-n", "kube-system", "get", "rolebindings", "-o", `jsonpath={range .items[?(@.subjects[0].name=="cke")]}{.metadata.name} {end}`))
	if len(bindings) == 0 {
		e.t.Fatal("the manifests bind user cke to nothing in kube-system")
	}
	for _, b := range bindings {
		e.kubectl("-n", "kube-system", "delete", "rolebinding", b)
	}
	e.must(e.client.Delete(e.ctx(), slicesPath+"/cke-etcd"))
	c := e.condition(endpointsSubject, "permissionIsMissing")
	e.Says("the condition", c.Text+c.Hint, "403", "ckecli kubernetes manifests")
	e.cared("forbidden")
	e.grant()
	e.shows(1, 2, 3)
	e.clears(endpointsSubject, "permissionIsMissing")
}

// isContested has somebody else own what CKE writes; CKE says so and wins.
func (e *env) isContested() {
	e.apply(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cke-etcd, namespace: kube-system, labels: {kubernetes.io/service-name: cke-etcd}}
addressType: IPv4
ports: [{name: theirs, port: 1, protocol: TCP}]
endpoints: [{addresses: [192.0.2.9], conditions: {ready: true}}]
`, "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
	c := e.condition(endpointsSubject, "fieldsWereTakenOver")
	e.Says("the condition", c.Text, "other")
	e.shows(1, 2, 3)
	e.Eventually("the port is CKE's again", e.looksRight)
	e.cared("contested")
}

// isLoggedOut puts a certificate that has ended into the kubeconfig, and then a
// good one.
func (e *env) isLoggedOut() {
	config, err := e.ShortKubeconfig(-time.Second, "cke")
	e.must(err)
	e.condition(endpointsSubject, "credentialsAreRefused")
	e.cared("loggedout")
	e.must(e.client.Delete(e.ctx(), slicesPath+"/cke-etcd"))
	if again, err := e.Kubeconfig("cke"); err != nil || again != config {
		e.t.Fatalf("the kubeconfig was renewed as %s: %v", again, err)
	}
	e.shows(1, 2, 3)
	e.clears(endpointsSubject, "credentialsAreRefused")
}

// hasNoNamespace asks for a Secret where there can be none yet.
func (e *env) hasNoNamespace() {
	e.CLI("etcd", "user-add", "app", "/app/")
	e.CLI("kubernetes", "bundle", "add", "app", "--namespace", "nowhere", "--name", "etcd")
	e.condition("secret nowhere/etcd", "permissionIsMissing")
	e.kubectl("create", "clusterrolebinding", "cke-for-now", "--clusterrole=cluster-admin", "--user=cke")
	e.condition("secret nowhere/etcd", "namespaceIsMissing")
	e.kubectl("delete", "clusterrolebinding", "cke-for-now")
	e.cared("nonamespace")
	e.kubectl("create", "namespace", "nowhere")
	e.grant()
	e.clears("secret nowhere/etcd", "namespaceIsMissing")
	e.Eventually("the Secret is there", func() error {
		return e.client.Get(e.ctx(), "/api/v1/namespaces/nowhere/secrets/etcd", nil)
	})
	e.CLI("kubernetes", "bundle", "remove", "nowhere/etcd")
}

// isDown ends the API server; meanwhile a member is killed, and another is moved.
func (e *env) isDown(s *k8s.Process) {
	s.Kill()
	e.killed(1)
	e.condition(endpointsSubject, "apiServerIsUnreachable")
	e.cared("down")
	_, err := e.StartAPIServer(e.ctx(), e.asTenant(1, 2, 3))
	e.must(err)
	e.clears(endpointsSubject, "apiServerIsUnreachable")
	e.shows(1, 2, 3)
}
