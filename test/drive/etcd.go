package drive

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/api"
)

// TLS makes a client's TLS from an issued certificate.
func TLS(t testing.TB, c api.Certificate) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CACertificate)) {
		t.Fatal("no CA certificate in the answer")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// RootCert issues a certificate of root.
func (in *Installation) RootCert() api.Certificate {
	in.T.Helper()
	return Decode[api.Certificate](in.T, in.CLI("etcd", "root-issue"))
}

// UserCert issues a certificate of a tenant.
func (in *Installation) UserCert(user string) api.Certificate {
	in.T.Helper()
	return Decode[api.Certificate](in.T, in.CLI("etcd", "issue", user))
}

// Connect makes an etcd client for these addresses, closed with the test.
func (in *Installation) Connect(c api.Certificate, addresses ...string) *clientv3.Client {
	in.T.Helper()
	return in.connect(c, clientv3.Config{}, addresses...)
}

func (in *Installation) connect(c api.Certificate, cfg clientv3.Config, addresses ...string) *clientv3.Client {
	in.T.Helper()
	eps := make([]string, len(addresses))
	for i, a := range addresses {
		eps[i] = "https://" + a + ":2379"
	}
	cfg.Endpoints, cfg.TLS, cfg.DialTimeout, cfg.Logger = eps, TLS(in.T, c), 5*time.Second, zap.NewNop()
	cfg.DialKeepAliveTime, cfg.DialKeepAliveTimeout = 2*time.Second, time.Second
	cl, err := clientv3.New(cfg)
	if err != nil {
		in.T.Fatal(err)
	}
	in.T.Cleanup(func() { _ = cl.Close() }) // its members may be gone
	return cl
}
