package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/plan"
)

type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes a CA and writes name.crt.
func newAuthority(t *testing.T, dir, name string) *authority {
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.make(name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(name, cn string) {
	a.make(name, &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
}

func (a *authority) make(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) write(name string, text []byte) {
	if err := os.WriteFile(filepath.Join(a.dir, name), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// serveTLS serves Plan, which tells its caller's name, and returns the server's URL.
func serveTLS(t *testing.T, dir string) string {
	t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	config, err := TLSConfig(file("server.crt"), file("server.key"), file("client-ca.crt"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, asked{plan: func(ctx context.Context) (plan.Plan, error) {
		return plan.Plan{Cluster: Caller(ctx)}, nil
	}}, tls.NewListener(l, config))
	return "https://" + l.Addr().String()
}

func TestHTTPSTakesOnlyItsClients(t *testing.T) {
	dir, old := t.TempDir(), t.TempDir()
	newAuthority(t, dir, "server-ca").issue("server", "cke")
	newAuthority(t, dir, "client-ca").issue("ada", "ada")
	newAuthority(t, dir, "other-ca").issue("eve", "ada")
	// One that was made anew has the same name, so that only the server can tell.
	newAuthority(t, old, "client-ca").issue("ada", "ada")
	server := serveTLS(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }

	c := newTestClient(t, server, ClientTLS{CA: file("server-ca.crt"), Cert: file("ada.crt"), Key: file("ada.key")})
	if p, err := c.Plan(t.Context(), "main"); err != nil || p.Cluster != "ada" {
		t.Errorf("caller %q, %v", p.Cluster, err)
	}
	for name, c := range map[string]struct {
		files ClientTLS
		hint  string
	}{
		"no certificate":   {ClientTLS{CA: file("server-ca.crt")}, "--tls-cert"},
		"another CA's":     {ClientTLS{CA: file("server-ca.crt"), Cert: file("eve.crt"), Key: file("eve.key")}, "--tls-cert"},
		"an older CA's":    {ClientTLS{CA: file("server-ca.crt"), Cert: filepath.Join(old, "ada.crt"), Key: filepath.Join(old, "ada.key")}, "--tls-cert"},
		"unknown server":   {ClientTLS{CA: file("other-ca.crt"), Cert: file("ada.crt"), Key: file("ada.key")}, "--tls-ca"},
		"no CA for server": {ClientTLS{Cert: file("ada.crt"), Key: file("ada.key")}, "--tls-ca"},
	} {
		_, err := newTestClient(t, server, c.files).Plan(t.Context(), "main")
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || !strings.Contains(unreachable.Hint, c.hint) || unreachable.Server != server {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, dir, "server-ca").issue("server", "cke")
	newAuthority(t, dir, "client-ca").issue("ada", "ada")
	server := serveTLS(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	ask := func() error {
		c := newTestClient(t, server, ClientTLS{CA: file("server-ca.crt"), Cert: file("ada.crt"), Key: file("ada.key")})
		defer c.http.CloseIdleConnections()
		_, err := c.Plan(t.Context(), "main")
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("server.crt"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("half a change stops the service: %v", err)
	}
	newAuthority(t, dir, "server-ca").issue("server", "cke")
	newAuthority(t, dir, "client-ca").issue("ada", "ada")
	if err := ask(); err != nil {
		t.Errorf("the new files are not used: %v", err)
	}
}

func TestTLSConfigSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, dir, "ca").issue("a", "a")
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	for _, c := range [][4]string{
		{"no", "a.key", "ca.crt", "no such file"},
		{"a.crt", "ca.key", "ca.crt", "load certificate"},
		{"a.crt", "a.key", "empty", "holds no certificate"},
	} {
		_, err := TLSConfig(file(c[0]), file(c[1]), file(c[2]), log)
		if err == nil || !strings.Contains(err.Error(), c[3]) {
			t.Errorf("%v: got %v", c, err)
		}
	}
}

// TestTheServersKeyIsCKEsAlone: who else can read it is cke to its callers, and who
// can write it takes its place.
func TestTheServersKeyIsCKEsAlone(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, dir, "ca").issue("a", "a")
	file := func(name string) string { return filepath.Join(dir, name) }
	try := func() error {
		_, err := TLSConfig(file("a.crt"), file("a.key"), file("ca.crt"), slog.New(slog.DiscardHandler))
		return err
	}
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o622: true, 0o644: true} {
		if err := os.Chmod(file("a.key"), mode); err != nil {
			t.Fatal(err)
		}
		err := try()
		var exposed *ExposedKeyError
		if errors.As(err, &exposed) != refused || !refused && err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if refused && (!strings.HasPrefix(exposed.Hint(), "chmod 0600 "+file("a.key")) || !strings.Contains(err.Error(), "is not cke's alone: its mode is 0")) {
			t.Errorf("mode %04o: %v; hint %s", mode, err, exposed.Hint())
		}
	}
	if os.Geteuid() == 0 { // only root can give a file away
		if err := errors.Join(os.Chmod(file("a.key"), 0o600), os.Chown(file("a.key"), 65534, -1)); err != nil {
			t.Fatal(err)
		}
		var exposed *ExposedKeyError
		if err := try(); !errors.As(err, &exposed) || exposed.Hint() != "chown 0 "+file("a.key") {
			t.Errorf("a key of somebody else's: %v", err)
		}
	}
	if err := errors.Join(os.Remove(file("a.key")), syscall.Mkfifo(file("a.key"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a named pipe: %v", err)
	}
}

// TestAKeyThatBecameEverybodysIsNotUsed: the one it took the place of goes on.
func TestAKeyThatBecameEverybodysIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, dir, "ca").issue("a", "a")
	file := func(name string) string { return filepath.Join(dir, name) }
	f := &tlsFiles{cert: file("a.crt"), key: file("a.key"), clientCA: file("ca.crt")}
	first, err := f.current()
	if err != nil {
		t.Fatal(err)
	}
	newAuthority(t, dir, "ca").issue("a", "a")
	if err := os.Chmod(file("a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	var exposed *ExposedKeyError
	if got, err := f.current(); got != first || !errors.As(err, &exposed) {
		t.Errorf("it serves with %p, not %p: %v", got, first, err)
	}
	if err := os.Chmod(file("a.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.current(); got == first || err != nil {
		t.Errorf("once the key is cke's alone: %v", err)
	}
}
