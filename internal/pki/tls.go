package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// ClientTLS is how CKE itself calls members: with cert, trusting only the
// cluster's server CA. TLS 1.2 is allowed because etcd can be told to offer
// nothing newer.
func ClientTLS(cert Certificate, server *CA) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert.CertPEM, cert.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("use client certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.cert)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
	}, nil
}
