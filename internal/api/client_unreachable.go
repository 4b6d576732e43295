package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"
)

// errCertificate is a client certificate the server would not take.
var errCertificate = errors.New("cke wants a client certificate of its client CA")

// checkCertificate finds out what the server would say of a certificate. With
// TLS 1.3 it says so after the handshake, when its answer may be lost.
func checkCertificate(own *tls.Certificate, info *tls.CertificateRequestInfo) error {
	if own == nil {
		return fmt.Errorf("%w, and none is given", errCertificate)
	}
	if err := info.SupportsCertificate(own); err != nil {
		return fmt.Errorf("%w: %w", errCertificate, err)
	}
	if own.Leaf != nil && time.Now().After(own.Leaf.NotAfter) {
		return fmt.Errorf("%w: the one given has expired at %s", errCertificate, own.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// sendError tells a daemon that is not there from one that did not answer.
func (c *Client) sendError(ctx context.Context, connected bool, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	refused := errors.Is(err, errCertificate) || isAlert(err)
	if connected && !refused && c.tls != nil {
		if alert := c.alert(ctx); alert != nil {
			err, refused = fmt.Errorf("%w: %w", errCertificate, alert), true
		}
	}
	if connected && !refused {
		return fmt.Errorf("get an answer from %s: %w", c.server, err)
	}
	return &UnreachableError{Server: c.server, Err: err, Hint: c.unreachableHint(err, refused)}
}

// isAlert says whether the other end of a TLS connection ended it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// alertPatience is how long to wait for the server to say why it hung up.
const alertPatience = 5 * time.Second

// alert connects once more to hear why the server would not have the
// certificate: with TLS 1.3 it says so after the handshake, and net/http loses
// that where HTTP/2 is not under way yet. Nil when it does not say.
func (c *Client) alert(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, alertPatience)
	defer cancel()
	config := c.tls.Clone()
	config.NextProtos = []string{"h2"} // whose server speaks first
	addr := strings.TrimPrefix(c.base, "https://")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), "443")
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err == nil {
		defer conn.Close()
		if err = conn.SetReadDeadline(time.Now().Add(alertPatience)); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
	}
	if isAlert(err) {
		return err
	}
	return nil
}

func (c *Client) unreachableHint(err error, refused bool) string {
	var authority x509.UnknownAuthorityError
	switch {
	case refused:
		return "give a certificate that is valid with --tls-cert and --tls-key"
	case errors.As(err, &authority):
		return "give the CA of cke's server certificate with --tls-ca"
	case errors.Is(err, fs.ErrPermission):
		return "the socket belongs to another user: run ckecli as that user, or as root"
	case errors.Is(err, errMute):
		return "the process is stopped or hangs: look at its log, and restart it with `systemctl restart cke` if need be; members go on meanwhile"
	case strings.HasPrefix(c.server, "unix:"):
		return "is cke running? start it with `systemctl start cke` (or `make up` for a local cluster), or name its socket with --server"
	default:
		return "is cke running, and does it listen on HTTPS there?"
	}
}
