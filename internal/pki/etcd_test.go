package pki_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/pki"
)

// TestRealEtcd holds the files against a real cluster of two, in which nothing
// works unless each member accepts the other's certificate in both directions.
func TestRealEtcd(t *testing.T) {
	c := startCluster(t)
	c.waitForQuorum(t)
	if log := c.logs(t); strings.Contains(log, "rejected connection") || strings.Contains(log, "x509") {
		t.Errorf("a member refuses its own side's certificates:\n%s", log)
	}
	t.Run("clients", c.testClients)
	t.Run("service name", c.testServiceName)
	t.Run("etcdctl", c.testEtcdctl)
	t.Run("revocation list", c.testRevocationList)
	t.Run("reissue without a restart", c.testReissue)
}

func (c *etcds) testClients(t *testing.T) {
	now := time.Now()
	stranger, err := pki.NewAuthority(c.spec.Name, now)
	if err != nil {
		t.Fatal(err)
	}
	peer := c.sets[0]
	for name, client := range map[string]struct {
		cert pki.Certificate
		want string // in the member's answer; empty: let in
	}{
		"the client CA's certificate": {issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour)), ""},
		"no certificate":              {pki.Certificate{}, "certificate required"},
		"another cluster's":           {issue(t, stranger.Client, pki.ClientRequest("app", time.Hour)), "unknown certificate authority"},
		"the server CA's":             {issue(t, c.cas.Server, pki.ClientRequest("app", time.Hour)), "unknown certificate authority"},
		"a member's server.crt":       {pki.Certificate{CertPEM: peer.ServerCert, KeyPEM: peer.ServerKey}, "unknown certificate authority"},
		"a member's peer.crt":         {pki.Certificate{CertPEM: peer.PeerCert, KeyPEM: peer.PeerKey}, "unknown certificate authority"},
		"one without client usage":    {issue(t, c.cas.Client, pki.Request{CommonName: "app", TTL: time.Hour, ServerAuth: true}), "bad certificate"},
	} {
		for _, address := range c.clientPorts() {
			err := knock(address, c.config(t, client.cert, c.cas.Server))
			if client.want == "" && err != nil {
				t.Errorf("%s at %s: %v", name, address, err)
			}
			if client.want != "" && (err == nil || !strings.Contains(err.Error(), client.want)) {
				t.Errorf("%s at %s: got %v, want %q", name, address, err, client.want)
			}
		}
	}
	good := issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour))
	err = knock(c.clientPorts()[0], c.config(t, good, stranger.Server))
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a client that trusts another server CA: %v", err)
	}
}

func (c *etcds) testServiceName(t *testing.T) {
	cert := issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour))
	for i, n := range c.spec.Nodes {
		for name, ok := range map[string]bool{
			"cke-etcd.kube-system.svc.cluster.local":                           true,
			string(n.Hostname) + ".cke-etcd.kube-system.svc.cluster.local":     true,
			string(c.spec.Nodes[1-i].Hostname) + ".cke-etcd.kube-system.svc.x": false,
		} {
			cfg := c.config(t, cert, c.cas.Server)
			cfg.ServerName = name
			if err := knock(addrPort(n, cluster.ClientPort), cfg); (err == nil) != ok {
				t.Errorf("%s as %s: %v", n.Hostname, name, err)
			}
		}
	}
}

func (c *etcds) testEtcdctl(t *testing.T) {
	out, err := c.etcdctl(t, c.spec.Nodes[0], "put", "greeting", "hello")
	if err != nil {
		t.Fatalf("put: %v\n%s", err, out)
	}
	out, err = c.etcdctl(t, c.spec.Nodes[1], "get", "--print-value-only", "greeting")
	if err != nil || strings.TrimSpace(out) != "hello" {
		t.Errorf("get: %v\n%s", err, out)
	}
}

// testRevocationList shows the trap: a list that is not DER locks everybody out,
// at once and on both ports, and so does none.
func (c *etcds) testRevocationList(t *testing.T) {
	cfg := c.config(t, issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour)), c.cas.Server)
	good := c.sets[0].CRL
	path := filepath.Join(c.dirs[0], "client.crl")
	for name, crl := range map[string][]byte{
		"PEM":     pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: good}),
		"empty":   {},
		"missing": nil,
	} {
		if crl == nil {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, path, crl)
		}
		for _, port := range []uint16{cluster.ClientPort, cluster.ClientHTTPPort} {
			if err := knock(addrPort(c.spec.Nodes[0], port), cfg); err == nil {
				t.Errorf("port %d lets clients in with a %s list", port, name)
			}
		}
		write(t, path, good)
		for _, address := range c.clientPorts() {
			if err := knock(address, cfg); err != nil {
				t.Errorf("with the good list again: %v", err)
			}
		}
	}
}

func (c *etcds) testReissue(t *testing.T) {
	node := c.spec.Nodes[0]
	set, err := c.cas.MemberSet(c.spec, node, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.install(t, 0, set)
	cfg := c.config(t, issue(t, c.cas.Client, pki.ClientRequest("app", time.Hour)), c.cas.Server)
	var shown []byte
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		shown = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.PeerCertificates[0].Raw})
		return nil
	}
	if err := knock(addrPort(node, cluster.ClientPort), cfg); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shown, set.ServerCert) {
		t.Error("the member still shows its old certificate")
	}
}
