package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSConfig is for serving HTTPS to callers with a certificate of clientCA and
// to nobody else, TLS 1.3 only. The PEM files are read again when they change;
// while a change does not make a whole (a certificate whose key is not there
// yet), the last good ones serve and log says so.
func TLSConfig(cert, key, clientCA string, log *slog.Logger) (*tls.Config, error) {
	f := &tlsFiles{cert: cert, key: key, clientCA: clientCA}
	first, err := f.current()
	if err != nil {
		return nil, err
	}
	config := first.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := f.current()
		if err != nil {
			log.Warn("keep serving with the previous certificate", "error", err, "hint", hintOf(err))
		}
		return c, nil
	}
	return config, nil
}

type tlsFiles struct {
	cert, key, clientCA string

	mu   sync.Mutex
	seen [3]fileMark
	good *tls.Config
}

// fileMark changes when a file does.
type fileMark struct {
	mtime time.Time
	size  int64
}

// current returns the newest whole configuration, and beside it an error when
// the files have changed into something that cannot be used.
func (f *tlsFiles) current() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now [3]fileMark
	for i, path := range []string{f.cert, f.key, f.clientCA} {
		info, err := os.Stat(path)
		if err != nil {
			return f.good, fmt.Errorf("read TLS file: %w", err)
		}
		now[i] = fileMark{mtime: info.ModTime(), size: info.Size()}
	}
	if f.good != nil && now == f.seen {
		return f.good, nil
	}
	fresh, err := f.load()
	if err != nil {
		return f.good, err
	}
	f.good, f.seen = fresh, now
	return fresh, nil
}

func (f *tlsFiles) load() (*tls.Config, error) {
	pair, err := loadPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s with key %s: %w", f.cert, f.key, err)
	}
	pool, err := loadPool(f.clientCA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		NextProtos:   []string{"h2", "http/1.1"},
		// A resumed session is not verified against a CA file that has changed since.
		SessionTicketsDisabled: true,
	}, nil
}

func loadPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read CA file %s: it holds no certificate in PEM", path)
	}
	return pool, nil
}
