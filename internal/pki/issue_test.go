package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestIssuedTimesAreExact(t *testing.T) {
	ca, now := testCA(t, Client), testTime()
	for _, ttl := range []time.Duration{time.Second, 2 * time.Hour, 24 * time.Hour, 87600 * time.Hour, ca.longest(now)} {
		c, err := ca.Issue(ClientRequest("root", ttl), now)
		if err != nil {
			t.Fatalf("%s: %v", ttl, err)
		}
		cert, err := parseCertificate(c.CertPEM)
		if err != nil {
			t.Fatal(err)
		}
		if want := now.Add(ttl).Truncate(time.Second); !cert.NotAfter.Equal(want) || !c.NotAfter.Equal(want) {
			t.Errorf("%s: ends %s and says %s, want %s", ttl, cert.NotAfter, c.NotAfter, want)
		}
		if back := now.Sub(cert.NotBefore); back < 2*time.Minute || back > 2*time.Minute+time.Second {
			t.Errorf("%s: back-dated by %s", ttl, back)
		}
	}
}

func TestIssueRefusesTTLs(t *testing.T) {
	ca, now := testCA(t, Client), testTime()
	late := ca.NotAfter().Add(-time.Hour)
	for name, c := range map[string]struct {
		ttl  time.Duration
		now  time.Time
		max  time.Duration
		want string
	}{
		"zero":         {0, now, ca.longest(now), "ttl 0s is not positive; the longest possible is 30y"},
		"negative":     {-time.Hour, now, ca.longest(now), "ttl -1h is not positive"},
		"sub-second":   {time.Millisecond, now, ca.longest(now), "ttl 1ms is shorter than a second"},
		"a second on":  {ca.longest(now) + time.Second, now, ca.longest(now), "ttl 30y1s goes beyond the CA's end"},
		"longest ever": {1<<63 - 1, now, ca.longest(now), "goes beyond the CA's end"},
		"an old CA":    {2 * time.Hour, late, time.Hour, "ttl 2h goes beyond the CA's end; the longest possible is 1h"},
		"an ended CA":  {time.Hour, ca.NotAfter().Add(time.Hour), -time.Hour, "the CA has expired"},
	} {
		_, err := ca.Issue(ClientRequest("app", c.ttl), c.now)
		var ttlErr *TTLError
		if !errors.As(err, &ttlErr) || ttlErr.Max != c.max || ttlErr.TTL != c.ttl || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q and at most %s", name, err, c.want, c.max)
		}
		if c.max > 0 {
			if _, err := ca.Issue(ClientRequest("app", c.max), c.now); err != nil {
				t.Errorf("%s: the longest possible is not: %v", name, err)
			}
		}
	}
}

func TestIssueRefusesCommonNames(t *testing.T) {
	ca := testCA(t, Client)
	for _, cn := range []string{"", strings.Repeat("x", 65)} {
		if _, err := ca.Issue(ClientRequest(cn, time.Hour), testTime()); err == nil {
			t.Errorf("issued for %q", cn)
		}
	}
	if _, err := ca.Issue(ClientRequest(strings.Repeat("ü", 64), time.Hour), testTime()); err != nil {
		t.Error(err)
	}
}

func TestEachCertificateHasAKeyAndSerialOfItsOwn(t *testing.T) {
	ca := testCA(t, Client)
	serials, keys, bits := map[string]bool{}, map[string]bool{}, 0
	for range 64 {
		c, err := ca.Issue(ClientRequest("app", time.Hour), testTime())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(c.CertPEM, c.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok || k.Curve != elliptic.P256() {
			t.Fatalf("key is %T", pair.PrivateKey)
		}
		serials[pair.Leaf.SerialNumber.String()], keys[string(c.KeyPEM)] = true, true
		bits = max(bits, pair.Leaf.SerialNumber.BitLen())
	}
	// Of 64 numbers below 2^128 the largest is below 2^120 once in 2^512 runs.
	if len(serials) != 64 || len(keys) != 64 || bits < 120 || bits > 128 {
		t.Errorf("%d serials, %d keys, %d bits", len(serials), len(keys), bits)
	}
}

func TestClientCertificate(t *testing.T) {
	ca := testCA(t, Client)
	c, err := ca.Issue(ClientRequest("app", time.Hour), testTime())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(c.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "app" || cert.IsCA || len(certNames(cert)) != 0 {
		t.Errorf("CN %q, CA %v, names %v", cert.Subject.CommonName, cert.IsCA, certNames(cert))
	}
	asClient := x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	mustVerify(t, c, ca, asClient)
	if verify(c.CertPEM, ca, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}) == nil {
		t.Error("a user can pose as a server")
	}
	if verify(c.CertPEM, testCA(t, Client), asClient) == nil {
		t.Error("another cluster's CA of the same name accepts it")
	}
	asClient.CurrentTime = c.NotAfter.Add(time.Second)
	if verify(c.CertPEM, ca, asClient) == nil {
		t.Error("valid after its end")
	}
}

func TestClientTLSRefusesAKeyOfAnother(t *testing.T) {
	ca := testCA(t, Client)
	a, err := ca.Issue(ClientRequest("a", time.Hour), testTime())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ca.Issue(ClientRequest("b", time.Hour), testTime())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ClientTLS(Certificate{CertPEM: a.CertPEM, KeyPEM: b.KeyPEM}, testCA(t, Server)); err == nil {
		t.Error("accepted")
	}
	cfg, err := ClientTLS(a, testCA(t, Server))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MinVersion < tls.VersionTLS12 || cfg.InsecureSkipVerify || cfg.RootCAs == nil || len(cfg.Certificates) != 1 {
		t.Errorf("config %+v", cfg.MinVersion)
	}
}
