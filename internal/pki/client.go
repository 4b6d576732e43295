package pki

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// APIServerTTL is how long the API server's client certificate lives. It is
// renewed from two thirds of it, without a restart, as etcd's clients read theirs
// at each handshake; an API server outlives its CKE by four months at least.
const APIServerTTL = 365 * 24 * time.Hour

// ClientFiles is what a client of the cluster needs. However it is printed, the
// key is not.
type ClientFiles struct {
	CA   []byte // of the members, PEM
	Cert Certificate
}

// APIServerFiles issues a fresh certificate for the API server.
func (a Authority) APIServerFiles(now time.Time) (ClientFiles, error) {
	cert, err := a.Client.issueShortened(ClientRequest(cluster.APIServerUser, APIServerTTL), now)
	if err != nil {
		return ClientFiles{}, fmt.Errorf("issue %s: %w", cluster.ClientCertFile, err)
	}
	return ClientFiles{CA: a.Server.CertPEM(), Cert: cert}, nil
}

// CheckAPIServer lists every reason why the API server's files must be issued
// again. What APIServerFiles gives is always good.
func CheckAPIServer(ca, cert []byte, keyFits bool, cas Authority, now time.Time) Findings {
	l := leaf{strings.TrimSuffix(cluster.ClientCertFile, ".crt"), cert, keyFits, cas.Client, ClientRequest(cluster.APIServerUser, APIServerTTL)}
	return append(l.problems(now), checkTrust(cluster.ClientCAFile, ca, cas.Server)...)
}

// Bundles issues and checks the certificates that applications find in Secrets.
type Bundles struct{ Client *CA }

// IssueBundle returns a fresh certificate and key of a user, PEM. A TTL beyond
// the CA's end is shortened to it.
func (b Bundles) IssueBundle(user string, ttl units.Duration, now time.Time) (cert, key []byte, err error) {
	c, err := b.Client.issueShortened(ClientRequest(user, ttl.Std()), now)
	if err != nil {
		return nil, nil, fmt.Errorf("issue tls.crt: %w", err)
	}
	return c.CertPEM, c.KeyPEM, nil
}

// CheckBundle lists every reason why this certificate must be issued again; none
// means that it is good. What IssueBundle gives is always good.
func (b Bundles) CheckBundle(user string, cert, key []byte, now time.Time) []string {
	_, err := tls.X509KeyPair(cert, key)
	l := leaf{"tls", cert, err == nil, b.Client, ClientRequest(user, 0)}
	return l.problems(now).Texts()
}
