package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/pki"
	"cke/internal/record"
	"cke/test/drive"
)

// TestAPI: the socket is its owner's alone, HTTPS serves whoever has a
// certificate of the configured CA, and a stop is a quiet one.
func TestAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	https := serveHTTPS(e)
	if !e.Start() {
		t.Fatal(drive.LastLines(e.Log, 10))
	}
	e.set(1)
	e.wantMode(filepath.Join(e.Dir, "cke.sock"), 0o600)
	t.Run("HTTPS", func(t *testing.T) { httpsServesOnlyItsOwn(e.in(t), https) })
	t.Run("OpenAPI", func(t *testing.T) { describesItself(e.in(t)) })
	stopsQuietly(e, https)
}

// serveHTTPS adds HTTPS to the configuration, with files below api/, and
// returns the server's address.
func serveHTTPS(e *env) string {
	e.t.Helper()
	if err := os.Mkdir(filepath.Join(e.Dir, "api"), 0o700); err != nil {
		e.t.Fatal(err)
	}
	at := net.JoinHostPort(e.addr(1), "4433")
	authority, err := pki.NewAuthority("api", time.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	stranger, err := pki.NewAuthority("api", time.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	server := pki.Request{CommonName: "cke", IPs: []netip.Addr{netip.MustParseAddr(e.addr(1))}, TTL: time.Hour, ServerAuth: true}
	e.issueTo("api/server", authority.Server, server)
	e.issueTo("api/alice", authority.Client, pki.ClientRequest("alice", time.Hour))
	e.issueTo("api/mallory", stranger.Client, pki.ClientRequest("alice", time.Hour))
	e.Write("api/server-ca.crt", string(authority.Server.CertPEM()))
	e.Write("api/client-ca.crt", string(authority.Client.CertPEM()))
	e.change("config.yml", "interval: 2s", fmt.Sprintf(`interval: 2s
listen: {address: %[2]q, certificate: %[1]s/api/server.crt, key: %[1]s/api/server.key, client_ca: %[1]s/api/client-ca.crt}`, e.Dir, at))
	return at
}

// issueTo writes name.crt and name.key.
func (e *env) issueTo(name string, ca *pki.CA, r pki.Request) {
	e.t.Helper()
	c, err := ca.Issue(r, time.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	e.Write(name+".crt", string(c.CertPEM))
	e.Write(name+".key", string(c.KeyPEM))
}

// over are ckecli's flags to come over HTTPS as somebody.
func over(https, who string, command ...string) []string {
	flags := []string{"--server", "https://" + https, "--tls-ca", "api/server-ca.crt"}
	if who != "" {
		flags = append(flags, "--tls-cert", "api/"+who+".crt", "--tls-key", "api/"+who+".key")
	}
	return append(flags, command...)
}

func httpsServesOnlyItsOwn(e *env, https string) {
	t := e.t
	e.Says("status", e.CLI(over(https, "alice", "status")...), "cluster main is healthy", "cp1")
	e.CLI(over(https, "alice", "pause", "--why", "who am I")...)
	e.CLI(over(https, "alice", "resume")...)
	by := map[string]string{}
	for _, r := range drive.Decode[[]record.Record](t, e.CLI("history", "-n", "100", "--output", "json")) {
		by[r.Action] = r.By
	}
	if by["pause"] != "alice" || by["resume"] != "alice" {
		t.Errorf("the history says that %v did it, want alice", by)
	}
	const wants = "cke wants a client certificate of its client CA"
	e.CLIFails(4, over(https, "", "status"), "reach cke at https://"+https, wants, "none is given", "hint: give a certificate that is valid with --tls-cert and --tls-key")
	e.CLIFails(4, over(https, "mallory", "status"), "reach cke at https://"+https, "remote error: tls: unknown certificate authority", "hint: give a certificate that is valid")
	e.CLIFails(4, []string{"--server", "https://" + https, "--tls-cert", "api/alice.crt", "--tls-key", "api/alice.key", "status"},
		"reach cke at https://"+https, "certificate", "hint: give the CA of cke's server certificate with --tls-ca")
	// Nothing but a handshake is ever had without a certificate, whatever the client thinks.
	for who, certs := range map[string][]tls.Certificate{"nobody": nil, "another CA": {e.pair("api/mallory")}} {
		forced := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certs) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		}}
		if err := served(https, forced); !refusedByServer(err) {
			t.Errorf("%s: %v, want the handshake refused", who, err)
		}
	}
	if err := plain(https); err == nil {
		t.Error("the HTTPS port serves without TLS")
	}
}

func (e *env) pair(name string) tls.Certificate {
	e.t.Helper()
	c, err := tls.LoadX509KeyPair(filepath.Join(e.Dir, name+".crt"), filepath.Join(e.Dir, name+".key"))
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// overSocket gets a path from the daemon's socket.
func (e *env) overSocket(path string) (code int, body []byte) {
	e.t.Helper()
	c := &http.Client{Timeout: drive.Patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(e.Dir, "cke.sock"))
	}}}
	defer c.CloseIdleConnections()
	q, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "http://cke"+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r, err := c.Do(q)
	if err != nil {
		e.t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(r.Body); err != nil {
		e.t.Fatal(err)
	}
	return r.StatusCode, body
}

// describesItself: the daemon serves the description that is checked in.
func describesItself(e *env) {
	t := e.t
	code, body := e.overSocket("/openapi.json")
	var served struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(body, &served); code != http.StatusOK || err != nil {
		t.Fatalf("openapi.json: %d %v %.200s", code, err, body)
	}
	checked, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(served.OpenAPI, "3.") || len(served.Paths) < 15 {
		t.Errorf("openapi %q with %d paths", served.OpenAPI, len(served.Paths))
	}
	for path := range served.Paths {
		if !strings.Contains(string(checked), "\n  "+path+":\n") {
			t.Errorf("docs/openapi.yaml does not describe %s", path)
		}
	}
	if code, body := e.overSocket("/nothing/here"); code != http.StatusNotFound || !strings.Contains(string(body), `"code":"not-found"`) {
		t.Errorf("an unknown path: %d %s", code, body)
	}
}

// stopsQuietly: SIGTERM ends the daemon, with code 0, though
// somebody watches; the members go on and the socket is gone.
func stopsQuietly(e *env, https string) {
	t := e.t
	watch := e.Command(nil, "ckecli", over(https, "alice", "status", "--watch", "--output", "json")...)
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the watch says nothing: %v", err)
	}
	root := e.connect(e.RootCert(), 1)
	before := e.members()
	// A watch that it waited for would be cut off in the end, which is no exit code 0.
	ended := e.Stop()
	if ended.ExitCode() != 0 {
		t.Errorf("cke ended with %s, want exit code 0", ended)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "cke.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if after := e.members(); !maps.Equal(before, after) || len(after) != 1 {
		t.Errorf("members were %v, are %v", before, after)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	if _, err := root.Put(ctx, "/registry/x", "without cke"); err != nil {
		t.Errorf("etcd without cke: %v", err)
	}
	if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("a watch that is ended, with cke gone: %v", err)
	}
}
