package publish_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
	"cke/internal/kube"
)

// podDir names the directory with a pod's service account, for the part of the
// test that runs as if it were in the pod.
const podDir = "CKE_TEST_POD_DIR"

// TestInAPod: cke as a pod logs in as its service account, which has what the
// manifests give it. The directory that a kubelet mounts is mounted here by the
// test's own second process, in a mount namespace of its own.
func TestInAPod(t *testing.T) {
	s := kubernetes(t)
	if dir := os.Getenv(podDir); dir != "" {
		t.Fatal("this is the pod's part: it is TestThePodsPart")
	}
	text, err := kube.Manifests(kube.ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.apply(t, string(text))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "ca.crt"), string(s.ca.certPEM))
	writeFile(t, filepath.Join(dir, "namespace"), "kube-system")
	writeFile(t, filepath.Join(dir, "token"), s.accountToken(t, "cke"))
	pod := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestThePodsPart$", "-test.v")
	pod.Env = append(os.Environ(), podDir+"="+dir, "KUBERNETES_SERVICE_HOST="+s.host, "KUBERNETES_SERVICE_PORT=6443")
	pod.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		pod.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		pod.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		pod.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := pod.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestThePodsPart") {
		t.Fatalf("the pod's part: %v\n%s", err, out)
	}
	s.isReady(t, "cke-etcd", "10.77.0.11 10.77.0.12 10.77.0.13")
}

// TestThePodsPart publishes from where TestInAPod puts it, and does nothing
// elsewhere.
func TestThePodsPart(t *testing.T) {
	dir := os.Getenv(podDir)
	if dir == "" {
		return
	}
	const account = "/run/secrets/kubernetes.io/serviceaccount"
	for _, mount := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") },
		func() error { return syscall.Mount(dir, "/mnt", "", syscall.MS_BIND, "") },
		func() error { return syscall.Mount("tmpfs", "/run", "tmpfs", 0, "") },
		func() error { return os.MkdirAll(account, 0o755) },
		func() error { return syscall.Mount("/mnt", account, "", syscall.MS_BIND, "") },
	} {
		if err := mount(); err != nil {
			t.Fatal(err)
		}
	}
	r := (&server{}).publish(t, cluster.InCluster, newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	eventually(t, func() error {
		if p := r.Published(); len(p.Ready) != 3 {
			return fmt.Errorf("published is %+v", p)
		}
		return nil
	})
}

// accountToken asks for a token of a service account in kube-system, as a kubelet
// does (TokenRequest).
func (s *server) accountToken(t *testing.T, name string) string {
	t.Helper()
	req := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": map[string]any{"name": name}, "spec": map[string]any{"audiences": []any{}},
	}}
	got, err := s.admin.Resource(gvr("serviceaccounts")).Namespace("kube-system").Create(t.Context(), req, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := unstructured.NestedString(got.Object, "status", "token")
	if err != nil || token == "" {
		t.Fatalf("no token in %v: %v", got.Object, err)
	}
	return token
}
