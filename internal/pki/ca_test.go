package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func testTime() time.Time { return time.Date(2026, 3, 1, 12, 30, 15, 987654321, time.UTC) }

func testCA(t *testing.T, role Role) *CA {
	t.Helper()
	ca, err := NewCA("main", role, testTime())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestNewCA(t *testing.T) {
	for _, role := range Roles() {
		ca := testCA(t, role)
		cert := ca.cert
		if want := testTime().Add(30 * 365 * 24 * time.Hour).Truncate(time.Second); !ca.NotAfter().Equal(want) {
			t.Errorf("%s: ends %s, want %s", role, ca.NotAfter(), want)
		}
		for _, word := range []string{"CKE", "main", string(role)} {
			if !strings.Contains(cert.Subject.String(), word) {
				t.Errorf("%s: %q is not in the subject %q", role, word, cert.Subject)
			}
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: key is %T, want ECDSA P-256", role, cert.PublicKey)
		}
		if err := cert.CheckSignatureFrom(cert); err != nil {
			t.Errorf("%s: not self-signed: %v", role, err)
		}
		if cert.MaxPathLen != 0 || !cert.MaxPathLenZero {
			t.Errorf("%s: may make further CAs", role)
		}
	}
}

func TestLoadedCAIssuesLikeTheOriginal(t *testing.T) {
	ca := testCA(t, Client)
	sec1, err := x509.MarshalECPrivateKey(ca.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, keyPEM := range map[string][]byte{
		"PKCS#8": ca.KeyPEM(),
		"SEC 1":  pem.EncodeToMemory(&pem.Block{Type: pemEC, Bytes: sec1}),
	} {
		loaded, err := LoadCA(Client, ca.CertPEM(), keyPEM)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(loaded.CertPEM(), ca.CertPEM()) || !bytes.Equal(loaded.KeyPEM(), ca.KeyPEM()) {
			t.Errorf("%s: the loaded CA is stored differently", name)
		}
		cert, err := loaded.Issue(ClientRequest("app", time.Hour), testTime())
		if err != nil {
			t.Fatal(err)
		}
		mustVerify(t, cert, ca, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
}

func TestLoadCARefuses(t *testing.T) {
	ca, other := testCA(t, Server), testCA(t, Server)
	leaf, err := ca.Issue(ClientRequest("app", time.Hour), testTime())
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: rsaDER})
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"another CA's key": {ca.CertPEM(), other.KeyPEM(), "the key does not belong"},
		"a leaf":           {leaf.CertPEM, leaf.KeyPEM, "may not sign"},
		"no certificate":   {nil, ca.KeyPEM(), "not a PEM certificate"},
		"key as cert":      {ca.KeyPEM(), ca.KeyPEM(), "not a PEM certificate"},
		"damaged cert":     {encodeCertificate(ca.cert.Raw[:100]), ca.KeyPEM(), "parse certificate"},
		"two certificates": {append(ca.CertPEM(), other.CertPEM()...), ca.KeyPEM(), "more than one"},
		"no key":           {ca.CertPEM(), nil, "not an ECDSA private key"},
		"cert as key":      {ca.CertPEM(), ca.CertPEM(), "not an ECDSA private key"},
		"cut key":          {ca.CertPEM(), ca.KeyPEM()[:90], "not an ECDSA private key"},
		"RSA key":          {ca.CertPEM(), rsaPEM, "not an ECDSA private key"},
	} {
		_, err := LoadCA(Server, c.cert, c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "load server CA: ") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestEmptyCRL(t *testing.T) {
	ca := testCA(t, Client)
	der, err := ca.EmptyCRL(testTime())
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(ca.cert); err != nil {
		t.Error(err)
	}
	if len(list.RevokedCertificateEntries) != 0 || !list.NextUpdate.Equal(ca.NotAfter()) || list.ThisUpdate.After(testTime()) {
		t.Errorf("entries %d, from %s until %s", len(list.RevokedCertificateEntries), list.ThisUpdate, list.NextUpdate)
	}
	later, err := ca.EmptyCRL(testTime().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	next, err := x509.ParseRevocationList(later)
	if err != nil {
		t.Fatal(err)
	}
	if next.Number.Cmp(list.Number) <= 0 {
		t.Errorf("a later list has number %s after %s", next.Number, list.Number)
	}
	if _, err := ca.EmptyCRL(ca.NotAfter().Add(time.Hour)); err == nil {
		t.Error("an expired CA made a list")
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	a, err := NewAuthority("main", testTime())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Client.Issue(ClientRequest("app", time.Hour), testTime())
	if err != nil {
		t.Fatal(err)
	}
	set, err := a.MemberSet(testSpec(), testNode(), testTime())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		value   any
		secrets [][]byte
		want    string
	}{
		"CA":          {a.Server, [][]byte{a.Server.KeyPEM()}, "[server CA]"},
		"certificate": {cert, [][]byte{cert.KeyPEM}, "[certificate until 2026-03-01T13:30:15Z]"},
		"pointer":     {&cert, [][]byte{cert.KeyPEM}, "[certificate until 2026-03-01T13:30:15Z]"},
		"member set":  {set, [][]byte{set.ServerKey, set.PeerKey}, "[member certificates]"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				if got := fmt.Sprintf(verb, c.value); got != c.want {
					t.Errorf("%s prints %s", verb, got)
				}
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", c.value)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", c.value)
			if strings.Count(log.String(), c.want) != 2 {
				t.Errorf("logged as %s", log.String())
			}
			encoded, err := json.Marshal(c.value)
			if err != nil {
				t.Fatal(err)
			}
			printed := fmt.Sprintf("%d %x %q %s", c.value, c.value, c.value, encoded)
			for _, s := range c.secrets {
				for _, form := range []string{string(s), fmt.Sprintf("%x", s), base64.StdEncoding.EncodeToString(s), strings.Trim(fmt.Sprint(s), "[]")} {
					if strings.Contains(printed, form) {
						t.Errorf("the key is visible: %s", printed)
					}
				}
			}
		})
	}
}

// mustVerify checks cert against ca as crypto/tls would, one second before its end.
func mustVerify(t *testing.T, cert Certificate, ca *CA, opts x509.VerifyOptions) {
	t.Helper()
	if err := verify(cert.CertPEM, ca, opts); err != nil {
		t.Error(err)
	}
}

func verify(certPEM []byte, ca *CA, opts x509.VerifyOptions) error {
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return err
	}
	opts.Roots = x509.NewCertPool()
	if !opts.Roots.AppendCertsFromPEM(ca.CertPEM()) {
		return fmt.Errorf("CA %v is not PEM", ca)
	}
	if opts.CurrentTime.IsZero() {
		opts.CurrentTime = cert.NotAfter.Add(-time.Second)
	}
	_, err = cert.Verify(opts)
	return err
}
