package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"cke/internal/units"
)

// maxCommonName is ub-common-name of RFC 5280, appendix A.1.
const maxCommonName = 64

// Request says what a certificate is to contain.
type Request struct {
	CommonName string // 1 to 64 characters
	DNSNames   []string
	IPs        []netip.Addr
	// TTL is the time from issue to NotAfter; certificates know whole seconds.
	TTL        time.Duration
	ServerAuth bool
	ClientAuth bool
}

// Certificate is an issued certificate with its key. However it is printed, its
// key is not.
type Certificate struct {
	CertPEM  []byte
	KeyPEM   []byte `json:"-"` // PKCS#8
	NotAfter time.Time
}

// TTLError refuses a time to live.
type TTLError struct {
	TTL time.Duration // what was asked for
	Max time.Duration // the longest possible now; not positive once the CA has ended
}

func (e *TTLError) Error() string {
	ttl, longest := units.Duration(e.TTL), units.Duration(e.Max)
	switch {
	case e.Max < time.Second:
		return "the CA has expired; nothing can be issued"
	case e.TTL <= 0:
		return fmt.Sprintf("ttl %s is not positive; the longest possible is %s", ttl, longest)
	case e.TTL < time.Second:
		return fmt.Sprintf("ttl %s is shorter than a second; the longest possible is %s", ttl, longest)
	}
	return fmt.Sprintf("ttl %s goes beyond the CA's end; the longest possible is %s", ttl, longest)
}

// Issue makes a fresh P-256 key and a certificate for it: from two minutes
// before now until now + TTL, cut to the second. A TTL below one second or
// beyond the CA's end is a *TTLError.
func (ca *CA) Issue(req Request, now time.Time) (Certificate, error) {
	if longest := ca.longest(now); req.TTL < time.Second || req.TTL > longest {
		return Certificate{}, &TTLError{TTL: req.TTL, Max: longest}
	}
	if n := len([]rune(req.CommonName)); n == 0 || n > maxCommonName {
		return Certificate{}, fmt.Errorf("issue certificate for %q: a common name has 1 to %d characters", req.CommonName, maxCommonName)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("issue certificate for %q: %w", req.CommonName, err)
	}
	template, err := req.template(now)
	if err != nil {
		return Certificate{}, fmt.Errorf("issue certificate for %q: %w", req.CommonName, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return Certificate{}, fmt.Errorf("issue certificate for %q: %w", req.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("issue certificate for %q: %w", req.CommonName, err)
	}
	return Certificate{CertPEM: encodeCertificate(der), KeyPEM: keyPEM, NotAfter: template.NotAfter}, nil
}

// longest is the longest TTL this CA can give now. It is counted from the whole
// second, as NotAfter is cut to one: so it reaches the CA's very end.
func (ca *CA) longest(now time.Time) time.Duration {
	return ca.cert.NotAfter.Sub(now.Truncate(time.Second))
}

func (req Request) template(now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: req.CommonName},
		DNSNames:              req.DNSNames,
		NotBefore:             now.Add(-backdate).Truncate(time.Second).UTC(),
		NotAfter:              now.Add(req.TTL).Truncate(time.Second).UTC(),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	for _, a := range req.IPs {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.Unmap().AsSlice()))
	}
	if req.ServerAuth {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if req.ClientAuth {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	return t, nil
}

// String tells the end and hides the key.
func (c Certificate) String() string {
	return "[certificate until " + c.NotAfter.UTC().Format(time.RFC3339) + "]"
}

// Format hides the key from every verb of package fmt.
func (c Certificate) Format(f fmt.State, _ rune) { hide(f, c.String()) }

// LogValue hides the key from slog.
func (c Certificate) LogValue() slog.Value { return slog.StringValue(c.String()) }

// hide has nowhere to report a write error to, as fmt.Formatter returns none;
// fmt.State is a buffer.
func hide(f fmt.State, text string) { _, _ = io.WriteString(f, text) }
