package k8s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is Kubernetes' own CA: none of etcd's certificates come from it.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make kubernetes' CA: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes-ca"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make kubernetes' CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make kubernetes' CA: %w", err)
	}
	return &authority{cert, key, encode("CERTIFICATE", der)}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pair is a certificate and its key, PEM.
type pair struct{ cert, key []byte }

// client is a certificate of a user of Kubernetes, who is in these groups.
func (a *authority) client(life time.Duration, user string, groups ...string) (pair, error) {
	return a.issue(life, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server is the certificate of an API server at any of these addresses.
func (a *authority) server(addrs ...net.IP) (pair, error) {
	return a.issue(24*time.Hour, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
		IPAddresses: addrs,
	})
}

func (a *authority) issue(life time.Duration, tmpl *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("issue %s: %w", tmpl.Subject.CommonName, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair{}, fmt.Errorf("issue %s: %w", tmpl.Subject.CommonName, err)
	}
	tmpl.SerialNumber, tmpl.KeyUsage = serial, x509.KeyUsageDigitalSignature
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(life)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return pair{}, fmt.Errorf("issue %s: %w", tmpl.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("issue %s: %w", tmpl.Subject.CommonName, err)
	}
	return pair{encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER)}, nil
}

// files are what an API server needs of the authority, by name.
func (a *authority) files(addrs ...net.IP) (map[string][]byte, error) {
	serving, err := a.server(addrs...)
	if err != nil {
		return nil, err
	}
	tokens, err := a.issue(24*time.Hour, &x509.Certificate{Subject: pkix.Name{CommonName: "service-accounts"}})
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"ca.crt": a.pem, "serving.crt": serving.cert, "serving.key": serving.key, "tokens.key": tokens.key,
	}, nil
}

// writeFile writes a file at once and whole, so that who watches it never reads
// half of one.
func writeFile(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Kubeconfig writes one for a user who is in these groups, and returns its path.
// Written again it replaces the file.
func (p *Plane) Kubeconfig(user string, groups ...string) (string, error) {
	return p.ShortKubeconfig(24*time.Hour, user, groups...)
}

// ShortKubeconfig is Kubeconfig with a certificate that ends after so long.
func (p *Plane) ShortKubeconfig(life time.Duration, user string, groups ...string) (string, error) {
	c, err := p.ca.client(life, user, groups...)
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: it, user: it}}]
clusters: [{name: it, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: it, user: {client-certificate-data: %s, client-key-data: %s}}]
`, p.URL(), b64(p.ca.pem), b64(c.cert), b64(c.key))
	path := filepath.Join(p.dir, user+".kubeconfig")
	if err := writeFile(path, []byte(text)); err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return path, nil
}
