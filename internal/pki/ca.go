package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"
)

const (
	caLife = 30 * 365 * 24 * time.Hour
	// backdate forgives hosts whose clocks are behind CKE's.
	backdate = 2 * time.Minute

	pemCertificate = "CERTIFICATE"
	pemPKCS8       = "PRIVATE KEY"
	pemEC          = "EC PRIVATE KEY"
)

// CA is one certificate authority with its key. It prints as its role.
type CA struct {
	role Role
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// The forms to store, made once so that their use cannot fail.
	certPEM, keyPEM []byte
}

// NewCA makes a self-signed CA with a fresh P-256 key that lives 30 years of
// 365 days from now.
func NewCA(cluster string, role Role, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Organization:       []string{"CKE"},
			OrganizationalUnit: []string{cluster},
			CommonName:         "CKE " + cluster + " " + string(role) + " CA",
		},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife).Truncate(time.Second),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	return newCA(role, cert, key)
}

// LoadCA reads what CertPEM and KeyPEM gave. The key may be PKCS#8 or SEC 1. It
// refuses a certificate that may not sign certificates and lists, and a key that
// is not the certificate's.
func LoadCA(role Role, certPEM, keyPEM []byte) (*CA, error) {
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load %s CA: %w", role, err)
	}
	usages := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage&usages != usages {
		return nil, fmt.Errorf("load %s CA: %q may not sign certificates and revocation lists", role, cert.Subject)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load %s CA: %w", role, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("load %s CA: the key does not belong to the certificate of %q", role, cert.Subject)
	}
	return newCA(role, cert, key)
}

func newCA(role Role, cert *x509.Certificate, key *ecdsa.PrivateKey) (*CA, error) {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of %s CA: %w", role, err)
	}
	return &CA{role: role, cert: cert, key: key, certPEM: encodeCertificate(cert.Raw), keyPEM: keyPEM}, nil
}

// CertPEM is the CA's certificate, for trust stores.
func (ca *CA) CertPEM() []byte { return append([]byte(nil), ca.certPEM...) }

// KeyPEM is the CA's key as PKCS#8, to be sealed at once.
func (ca *CA) KeyPEM() []byte { return append([]byte(nil), ca.keyPEM...) }

// NotAfter is the CA's end; nothing it issues lives longer.
func (ca *CA) NotAfter() time.Time { return ca.cert.NotAfter }

// String names the CA and hides its key.
func (ca *CA) String() string { return "[" + string(ca.role) + " CA]" }

// Format hides the key from every verb of package fmt.
func (ca *CA) Format(f fmt.State, _ rune) { hide(f, ca.String()) }

// LogValue hides the key from slog.
func (ca *CA) LogValue() slog.Value { return slog.StringValue(ca.String()) }

func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return new(big.Int).SetBytes(b), nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: der}), nil
}

// parseCertificate reads exactly one certificate: nothing CKE handles is a bundle.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemCertificate {
		return nil, errors.New("it is not a PEM certificate")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("it holds more than one PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return cert, nil
}

// parseKey leaves the parsers' errors out: nothing of a key may reach a log.
func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	errKey := errors.New("the key is not an ECDSA private key in PEM")
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errKey
	}
	switch block.Type {
	case pemEC:
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	case pemPKCS8:
		if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := parsed.(*ecdsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, errKey
}
