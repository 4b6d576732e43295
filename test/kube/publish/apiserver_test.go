// Package publish_test has internal/kube publish to a real API server.
package publish_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const patience = 60 * time.Second

// server is a kube-apiserver on an etcd of its own. The package's tests share
// one, in turns: the names of what is published are fixed.
type server struct {
	dir, host string
	ca        authority
	etcd, api *exec.Cmd
	admin     dynamic.Interface
	config    *rest.Config
}

var (
	starting  sync.Once
	shared    *server
	errShared error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// kubernetes is the shared API server, running and without anything of CKE's.
func kubernetes(t *testing.T) *server {
	t.Helper()
	starting.Do(func() { shared, errShared = start() })
	if errShared != nil {
		t.Fatal(errShared)
	}
	shared.clean(t)
	return shared
}

func start() (*server, error) {
	dir, err := os.MkdirTemp("", "cke-publish-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, host: freeAddress()}
	if s.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if err := s.writeFiles(); err != nil {
		return nil, err
	}
	s.etcd, err = s.run("etcd",
		"--name=test", "--data-dir="+s.path("etcd"), "--log-level=error", "--unsafe-no-fsync",
		"--listen-client-urls="+s.etcdURL(2379), "--advertise-client-urls="+s.etcdURL(2379),
		"--listen-peer-urls="+s.etcdURL(2380), "--initial-advertise-peer-urls="+s.etcdURL(2380),
		"--initial-cluster=test="+s.etcdURL(2380))
	if err != nil {
		return nil, err
	}
	s.config = &rest.Config{
		Host: s.url(), BearerToken: "admin-token",
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca.certPEM}, QPS: 1000, Burst: 1000, WarningHandler: rest.NoWarnings{},
	}
	if s.admin, err = dynamic.NewForConfig(s.config); err != nil {
		return nil, err
	}
	if err := s.startAPI(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) etcdURL(port int) string { return fmt.Sprintf("http://%s:%d", s.host, port) }
func (s *server) url() string             { return fmt.Sprintf("https://%s:6443", s.host) }
func (s *server) write(name, text string) error {
	return os.WriteFile(s.path(name), []byte(text), 0o600)
}
func (s *server) program(name string) (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "bin", name))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s: %w; run: make build build-kube", name, err)
	}
	return path, nil
}

func (s *server) writeFiles() error {
	serving, err := s.ca.issue("kube-apiserver", nil, s.host)
	if err != nil {
		return err
	}
	accounts, err := s.ca.issue("service-accounts", nil, "")
	if err != nil {
		return err
	}
	var errs []error
	for name, text := range map[string]string{
		"ca.crt": string(s.ca.certPEM), "api.crt": string(serving.cert), "api.key": string(serving.key),
		"sa.key": string(accounts.key), "sa.pub": string(accounts.cert),
		"tokens.csv": "admin-token,admin,1,system:masters\n" +
			"cke-token,cke,2\nother-token,other,3,system:masters\nquiet-token,quiet,4,system:masters\n" +
			"kcm-token,kcm,5,system:masters\n",
		"audit.yml": "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\n" +
			"rules: [{level: Metadata, users: [quiet]}, {level: None}]\n",
	} {
		errs = append(errs, s.write(name, text))
	}
	return errors.Join(errs...)
}

// startAPI starts the API server and waits until it serves.
func (s *server) startAPI() error {
	var err error
	s.api, err = s.run("kube-apiserver",
		"--advertise-address=192.0.2.1", "--bind-address="+s.host, "--secure-port=6443",
		"--etcd-servers="+s.etcdURL(2379), "--etcd-compaction-interval=0",
		"--client-ca-file="+s.path("ca.crt"), "--tls-cert-file="+s.path("api.crt"), "--tls-private-key-file="+s.path("api.key"),
		"--token-auth-file="+s.path("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.path("sa.pub"), "--service-account-signing-key-file="+s.path("sa.key"),
		"--authorization-mode=RBAC", "--service-cluster-ip-range=10.100.0.0/16,fd00:100::/112",
		"--min-request-timeout=5", // watches end after 5 to 10 s, and not after half an hour
		"--audit-log-path="+s.path("audit.log"), "--audit-policy-file="+s.path("audit.yml"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca.certPEM)
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
	return until(patience, func() error {
		resp, err := client.Get(s.url() + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz answers %s", resp.Status)
		}
		return nil
	})
}

// killAPI ends the API server as a crash would.
func (s *server) killAPI() { end(s.api) }

func (s *server) stop() {
	end(s.api)
	end(s.etcd)
	os.RemoveAll(s.dir)
}

// run starts a program; what it logs is in a file beside its data.
func (s *server) run(name string, args ...string) (*exec.Cmd, error) {
	path, err := s.program(name)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(s.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	return cmd, err
}

func end(cmd *exec.Cmd) {
	if cmd != nil && cmd.Process != nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func (s *server) logOf(name string) string {
	f, err := os.Open(s.path(name + ".log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// freeAddress is a loopback address where nobody listens.
func freeAddress() string {
	for try := range 1000 {
		seed := os.Getpid() + try*7919
		host := fmt.Sprintf("127.%d.%d.77", byte(seed>>8)%250+4, byte(seed))
		free := true
		for _, port := range []string{"2379", "2380", "6443"} {
			l, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return host
		}
	}
	return ""
}

// until tries again until it works.
func until(d time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", d, err)
		case <-tick.C:
		}
	}
}

func gvr(resource string) schema.GroupVersionResource {
	const rbac = "rbac.authorization.k8s.io"
	group := map[string]string{
		"endpointslices": "discovery.k8s.io", "roles": rbac, "rolebindings": rbac, "clusterroles": rbac, "clusterrolebindings": rbac,
	}[resource]
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}
}
