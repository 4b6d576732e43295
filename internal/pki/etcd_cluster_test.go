package pki_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/pki"
)

// etcds is a running cluster whose members have their files in dirs.
type etcds struct {
	spec cluster.Spec
	cas  pki.Authority
	sets []pki.MemberSet
	dirs []string
	bin  string
	// exits has room for every member, so that none waits to be heard.
	exits chan string
}

func startCluster(t *testing.T) *etcds {
	t.Helper()
	now := time.Now()
	cas, err := pki.NewAuthority("main", now)
	if err != nil {
		t.Fatal(err)
	}
	c := &etcds{cas: cas, bin: etcdBinary(t)}
	c.spec = cluster.Spec{Name: "main", ClusterDomain: "cluster.local", Nodes: freeNodes(t, 2)}
	c.exits = make(chan string, len(c.spec.Nodes))
	c.sets = make([]pki.MemberSet, len(c.spec.Nodes))
	for i, n := range c.spec.Nodes {
		set, err := cas.MemberSet(c.spec, n, now)
		if err != nil {
			t.Fatal(err)
		}
		c.dirs = append(c.dirs, t.TempDir())
		c.install(t, i, set)
	}
	for i := range c.spec.Nodes {
		c.start(t, i)
	}
	return c
}

func (c *etcds) install(t *testing.T, i int, set pki.MemberSet) {
	t.Helper()
	for name, content := range map[string][]byte{
		"server.crt": set.ServerCert, "server.key": set.ServerKey,
		"peer.crt": set.PeerCert, "peer.key": set.PeerKey,
		"client-ca.crt": set.ClientCA, "peer-ca.crt": set.PeerCA, "client.crl": set.CRL,
	} {
		write(t, filepath.Join(c.dirs[i], name), content)
	}
	c.sets[i] = set
}

func (c *etcds) start(t *testing.T, i int) {
	t.Helper()
	n, dir := c.spec.Nodes[i], c.dirs[i]
	var initial []string
	for _, m := range c.spec.Nodes {
		initial = append(initial, string(m.Hostname)+"="+m.PeerURL())
	}
	cmd := exec.Command(c.bin,
		"--name="+string(n.Hostname), "--data-dir="+filepath.Join(dir, "data"), "--unsafe-no-fsync",
		"--listen-client-urls="+n.ClientURL(), "--advertise-client-urls="+n.ClientURL(),
		"--listen-client-http-urls="+cluster.URL(n.Address, cluster.ClientHTTPPort),
		"--listen-peer-urls="+n.PeerURL(), "--initial-advertise-peer-urls="+n.PeerURL(),
		"--listen-metrics-urls=http://"+addrPort(n, cluster.MetricsPort),
		"--initial-cluster="+strings.Join(initial, ","), "--initial-cluster-token="+t.Name(),
		"--client-cert-auth", "--trusted-ca-file="+filepath.Join(dir, "client-ca.crt"),
		"--cert-file="+filepath.Join(dir, "server.crt"), "--key-file="+filepath.Join(dir, "server.key"),
		"--client-crl-file="+filepath.Join(dir, "client.crl"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+filepath.Join(dir, "peer-ca.crt"),
		"--peer-cert-file="+filepath.Join(dir, "peer.crt"), "--peer-key-file="+filepath.Join(dir, "peer.key"),
		"--enable-grpc-gateway=false", "--log-level=warn")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.exits <- fmt.Sprintf("%s ended: %v", n.Hostname, cmd.Wait())
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-gone
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (c *etcds) waitForQuorum(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		out, err := c.etcdctl(t, c.spec.Nodes[0], "get", "anything")
		if err == nil {
			return
		}
		select {
		case exit := <-c.exits:
			t.Fatalf("%s\n%s", exit, c.logs(t))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no quorum: %v\n%s\n%s", err, out, c.logs(t))
		}
	}
}

func (c *etcds) etcdctl(t *testing.T, n cluster.Node, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	cert := issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour))
	write(t, filepath.Join(dir, "ca.crt"), c.cas.Server.CertPEM())
	write(t, filepath.Join(dir, "app.crt"), cert.CertPEM)
	write(t, filepath.Join(dir, "app.key"), cert.KeyPEM)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(c.bin), "etcdctl"), append([]string{
		"--endpoints=" + n.ClientURL(), "--dial-timeout=2s", "--command-timeout=5s",
		"--cacert=" + filepath.Join(dir, "ca.crt"),
		"--cert=" + filepath.Join(dir, "app.crt"), "--key=" + filepath.Join(dir, "app.key"),
	}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *etcds) logs(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range c.dirs {
		b, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// clientPorts are both client ports of every member.
func (c *etcds) clientPorts() []string {
	var out []string
	for _, n := range c.spec.Nodes {
		out = append(out, addrPort(n, cluster.ClientPort), addrPort(n, cluster.ClientHTTPPort))
	}
	return out
}

// config is ClientTLS, or the same without a certificate.
func (c *etcds) config(t *testing.T, cert pki.Certificate, server *pki.CA) *tls.Config {
	t.Helper()
	anonymous := len(cert.CertPEM) == 0
	if anonymous {
		cert = issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour))
	}
	cfg, err := pki.ClientTLS(cert, server)
	if err != nil {
		t.Fatal(err)
	}
	if anonymous {
		cfg.Certificates = nil
		return cfg
	}
	// Else crypto/tls withholds a certificate of a CA the server does not name.
	pair := cfg.Certificates[0]
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return cfg
}

// knock is nil when the member answers HTTP/2 with its settings (RFC 9113,
// section 3.4): in TLS 1.3 a client learns only then that it was accepted.
func knock(address string, cfg *tls.Config) error {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", address, cfg)
	if err != nil {
		return err
	}
	err = hello(conn)
	// The close notice cannot be sent to one who has hung up already.
	_ = conn.Close()
	return err
}

func hello(conn *tls.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	const preface, settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	_, writeErr := io.WriteString(conn, preface+settings)
	frame := make([]byte, 9)
	if _, err := io.ReadFull(conn, frame); err != nil {
		return errors.Join(err, writeErr)
	}
	if frame[3] != 4 {
		return fmt.Errorf("the first frame is %x, want settings", frame)
	}
	return nil
}

func issue(t *testing.T, ca *pki.CA, req pki.Request) pki.Certificate {
	t.Helper()
	cert, err := ca.Issue(req, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func etcdBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CKE_ETCD_BIN")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "etcd")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find etcd: %v; run: make build", err)
	}
	return path
}

// freeNodes finds neighbouring loopback addresses whose member ports are free.
func freeNodes(t *testing.T, count int) []cluster.Node {
	t.Helper()
	for try := range 1000 {
		seed := os.Getpid() + try*7919
		var nodes []cluster.Node
		for i := range count {
			a := netip.AddrFrom4([4]byte{127, byte(seed>>8)%250 + 4, byte(seed), byte(i + 1)})
			n := cluster.Node{Hostname: cluster.NodeName(fmt.Sprintf("cp%d", i+1)), Address: a}
			if portsFree(n) {
				nodes = append(nodes, n)
			}
		}
		if len(nodes) == count {
			return nodes
		}
	}
	t.Fatal("no free loopback addresses")
	return nil
}

func portsFree(n cluster.Node) bool {
	for _, port := range []uint16{cluster.ClientPort, cluster.PeerPort, cluster.MetricsPort, cluster.ClientHTTPPort} {
		l, err := net.Listen("tcp", addrPort(n, port))
		if err != nil {
			return false
		}
		if l.Close() != nil {
			return false
		}
	}
	return true
}

func addrPort(n cluster.Node, port uint16) string {
	return netip.AddrPortFrom(n.Address, port).String()
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
