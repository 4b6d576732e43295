package pki

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cke/internal/cluster"
)

// Authority is a cluster's three CAs. None is nil.
type Authority struct {
	Server, Peer, Client *CA
}

// NewAuthority makes the CAs of a new cluster.
func NewAuthority(name string, now time.Time) (Authority, error) {
	server, serverErr := NewCA(name, Server, now)
	peer, peerErr := NewCA(name, Peer, now)
	client, clientErr := NewCA(name, Client, now)
	if err := errors.Join(serverErr, peerErr, clientErr); err != nil {
		return Authority{}, err
	}
	return Authority{Server: server, Peer: peer, Client: client}, nil
}

// CA is the CA of a role, nil for a role there is not.
func (a Authority) CA(role Role) *CA {
	switch role {
	case Server:
		return a.Server
	case Peer:
		return a.Peer
	case Client:
		return a.Client
	}
	return nil
}

// MemberSet is everything a member reads, by file. However it is printed, the
// keys are not.
type MemberSet struct {
	ServerCert []byte // server.crt, PEM
	ServerKey  []byte `json:"-"` // server.key, PEM
	PeerCert   []byte // peer.crt, PEM
	PeerKey    []byte `json:"-"` // peer.key, PEM
	ClientCA   []byte // client-ca.crt, PEM
	PeerCA     []byte // peer-ca.crt, PEM
	CRL        []byte // client.crl, DER
}

// MemberSet issues fresh keys, certificates and an empty revocation list for the
// member on node n. It is a *TTLError once a CA has expired.
func (a Authority) MemberSet(spec cluster.Spec, n cluster.Node, now time.Time) (MemberSet, error) {
	server, err := a.Server.issueShortened(ServerRequest(spec, n), now)
	if err != nil {
		return MemberSet{}, fmt.Errorf("issue server.crt: %w", err)
	}
	peer, err := a.Peer.issueShortened(PeerRequest(spec, n), now)
	if err != nil {
		return MemberSet{}, fmt.Errorf("issue peer.crt: %w", err)
	}
	crl, err := a.Client.EmptyCRL(now)
	if err != nil {
		return MemberSet{}, err
	}
	return MemberSet{
		ServerCert: server.CertPEM, ServerKey: server.KeyPEM,
		PeerCert: peer.CertPEM, PeerKey: peer.KeyPEM,
		ClientCA: a.Client.CertPEM(), PeerCA: a.Peer.CertPEM(), CRL: crl,
	}, nil
}

// issueShortened shortens the TTL to the CA's end: a member with a short
// certificate serves, a member with none does not.
func (ca *CA) issueShortened(req Request, now time.Time) (Certificate, error) {
	if longest := ca.longest(now); longest >= time.Second {
		req.TTL = min(req.TTL, longest)
	}
	return ca.Issue(req, now)
}

// String hides the keys.
func (m MemberSet) String() string { return "[member certificates]" }

// Format hides the keys from every verb of package fmt.
func (m MemberSet) Format(f fmt.State, _ rune) { hide(f, m.String()) }

// LogValue hides the keys from slog.
func (m MemberSet) LogValue() slog.Value { return slog.StringValue(m.String()) }
