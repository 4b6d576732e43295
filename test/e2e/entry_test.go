package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/pki"
	"cke/test/drive"
)

// TestEntry: a member serves whoever has a certificate of the clients' CA and
// nobody else, and each port only what it is for.
func TestEntry(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.set(1)
	e.CLI("etcd", "user-add", "app", "/app/")
	app := drive.TLS(t, e.UserCert("app"))
	root := e.RootCert()
	e.CLI("cluster", "set", e.Write("second.yml", strings.Replace(e.clusterYAML(9), "name: main", "name: second", 1)), "--wait")

	var strangers []stranger
	add := func(who string, c api.Certificate) {
		c.CACertificate = root.CACertificate // they do know whom they speak to
		strangers = append(strangers, stranger{who, drive.TLS(t, c)})
	}
	add("root of another cluster", drive.Decode[api.Certificate](t, e.CLI("--cluster", "second", "etcd", "root-issue")))
	add("root of a CA with the same name", forgedRoot(t))
	pkiDir := filepath.Join(e.Dir, "nodes/cp1/etc/cke/etcd/main/pki")
	add("the member's own server certificate", pairFrom(t, filepath.Join(pkiDir, "server")))
	add("the member's own peer certificate", pairFrom(t, filepath.Join(pkiDir, "peer")))
	nobody := app.Clone()
	nobody.Certificates = nil
	strangers = append(strangers, stranger{"nobody", nobody})

	client := net.JoinHostPort(e.addr(1), fmt.Sprint(cluster.ClientPort))
	web := net.JoinHostPort(e.addr(1), fmt.Sprint(cluster.ClientHTTPPort))
	for _, at := range []string{client, web} {
		if err := served(at, app); err != nil {
			t.Errorf("app at %s: %v, want it served", at, err)
		}
		for _, s := range strangers {
			if err := served(at, s.tls); !refusedByServer(err) {
				t.Errorf("%s at %s: %v, want the handshake refused", s.who, at, err)
			}
		}
		if err := plain(at); err == nil {
			t.Errorf("%s serves without TLS", at)
		}
	}
	peer := net.JoinHostPort(e.addr(1), fmt.Sprint(cluster.PeerPort))
	app.InsecureSkipVerify = true // whatever the peers' server shows, app is not one of them
	if err := served(peer, app); !refusedByServer(err) {
		t.Errorf("app at the peers' port: %v, want the handshake refused", err)
	}
	portsServeOnlyTheirOwn(t, e, app)
}

type stranger struct {
	who string
	tls *tls.Config
}

// forgedRoot is a certificate of root by a CA that calls itself as the cluster's.
func forgedRoot(t *testing.T) api.Certificate {
	t.Helper()
	a, err := pki.NewAuthority("main", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Client.Issue(pki.ClientRequest("root", time.Hour), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return api.Certificate{Certificate: string(c.CertPEM), PrivateKey: string(c.KeyPEM)}
}

func pairFrom(t *testing.T, path string) api.Certificate {
	t.Helper()
	cert, err := os.ReadFile(path + ".crt")
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(path + ".key")
	if err != nil {
		t.Fatal(err)
	}
	return api.Certificate{Certificate: string(cert), PrivateKey: string(key)}
}

// served tries to be heard: by HTTP/2, whose server speaks first, or else by a
// request over HTTP/1.1. With TLS 1.3 a client learns only then whether its
// certificate was taken.
func served(addr string, config *tls.Config) error {
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: drive.Patience}, "tcp", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(drive.Patience)); err != nil {
		return err
	}
	if c.ConnectionState().NegotiatedProtocol != "h2" {
		if _, err := io.WriteString(c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// refusedByServer says whether the other end refused the handshake.
func refusedByServer(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// plain asks without TLS.
func plain(addr string) error {
	r, err := http.Get("http://" + addr + "/version")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// portsServeOnlyTheirOwn: the port tenants reach speaks gRPC only; health,
// version and figures are on loopback ports. There is no gateway anywhere.
func portsServeOnlyTheirOwn(t *testing.T, e *env, app *tls.Config) {
	t.Helper()
	c := &http.Client{Timeout: drive.Patience, Transport: &http.Transport{TLSClientConfig: app, ForceAttemptHTTP2: true}}
	get := func(url string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
		defer cancel()
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(q)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		return r.StatusCode, string(body)
	}
	for _, path := range []string{"/metrics", "/health", "/version", "/debug/vars", "/v3/kv/range"} {
		code, body := get("https://" + e.addr(1) + ":2379" + path)
		if code == http.StatusOK || strings.Contains(body, "etcd") {
			t.Errorf("the client port serves %s: %d %.200s", path, code, body)
		}
	}
	for _, path := range []string{"/v3/kv/range", "/v3/auth/authenticate", "/v3/maintenance/snapshot"} {
		if code, body := get("https://" + e.addr(1) + ":2382" + path); code != http.StatusNotFound {
			t.Errorf("a gateway serves %s: %d %.200s", path, code, body)
		}
	}
	if code, body := get("http://" + e.addr(1) + ":2381/health"); code != http.StatusOK || !strings.Contains(body, "true") {
		t.Errorf("health on the loopback port: %d %s", code, body)
	}
}
