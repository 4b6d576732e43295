package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

// MemberFiles is what was found on a member's host. An absent file is empty;
// keys never leave the host, which says itself whether they fit.
type MemberFiles struct {
	ServerCert, PeerCert, ClientCA, PeerCA, CRL []byte
	ServerKeyFits, PeerKeyFits                  bool
}

// CheckMember lists every reason why the files of the member on node n must be
// reissued, each a short sentence; none means that they are good. What
// MemberSet gives is always good: while the CAs live, a reissue cures every
// reason.
func CheckMember(f MemberFiles, spec cluster.Spec, n cluster.Node, cas Authority, now time.Time) []string {
	server := leaf{"server", f.ServerCert, f.ServerKeyFits, cas.Server, ServerRequest(spec, n)}
	peer := leaf{"peer", f.PeerCert, f.PeerKeyFits, cas.Peer, PeerRequest(spec, n)}
	return slices.Concat(
		server.problems(now),
		peer.problems(now),
		checkTrust("client-ca.crt", f.ClientCA, cas.Client),
		checkTrust("peer-ca.crt", f.PeerCA, cas.Peer),
		checkCRL(f.CRL, cas.Client, now),
	)
}

// leaf is an installed certificate beside what it should be.
type leaf struct {
	kind    string
	text    []byte
	keyFits bool
	ca      *CA
	want    Request
}

func (l leaf) problems(now time.Time) []string {
	file := l.kind + ".crt"
	if len(l.text) == 0 {
		return []string{file + " is missing"}
	}
	cert, err := parseCertificate(l.text)
	if err != nil {
		return []string{fmt.Sprintf("%s is unreadable: %v", file, err)}
	}
	var out []string
	for _, p := range slices.Concat(l.identity(cert), l.usages(cert), l.validity(cert, now)) {
		out = append(out, file+" "+p)
	}
	if !l.keyFits {
		out = append(out, fmt.Sprintf("%s.key does not belong to %s", l.kind, file))
	}
	return out
}

// identity reports foreign names too: an address a node once had may be
// another machine's now.
func (l leaf) identity(cert *x509.Certificate) []string {
	var out []string
	if cert.CheckSignatureFrom(l.ca.cert) != nil {
		out = append(out, "was issued by another CA")
	}
	if cn := cert.Subject.CommonName; cn != l.want.CommonName {
		out = append(out, fmt.Sprintf("is for %q, not for %q", cn, l.want.CommonName))
	}
	have, want := certNames(cert), slices.Clone(l.want.DNSNames)
	for _, a := range l.want.IPs {
		want = append(want, a.String())
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			out = append(out, "lacks the name "+name)
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			out = append(out, "has the name "+name+", which is not this member's")
		}
	}
	return out
}

func certNames(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func (l leaf) usages(cert *x509.Certificate) []string {
	var out []string
	if l.want.ServerAuth && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		out = append(out, "may not be used as a server")
	}
	if l.want.ClientAuth && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		out = append(out, "may not be used as a client")
	}
	return out
}

func (l leaf) validity(cert *x509.Certificate, now time.Time) []string {
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	renewal := cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
	switch {
	case now.Before(cert.NotBefore):
		return []string{"is not valid before " + cert.NotBefore.UTC().Format(time.RFC3339)}
	case now.After(cert.NotAfter):
		return []string{"expired at " + end}
	// A certificate that ends with its CA cannot be made to live longer.
	case !now.Before(renewal) && cert.NotAfter.Before(l.ca.NotAfter()):
		return []string{"expires at " + end + " (renewed from two thirds of its life)"}
	}
	return nil
}

func checkTrust(file string, text []byte, ca *CA) []string {
	switch {
	case len(text) == 0:
		return []string{file + " is missing"}
	case !bytes.Equal(text, ca.certPEM):
		return []string{fmt.Sprintf("%s is not this cluster's %s CA", file, ca.role)}
	}
	return nil
}

// checkCRL takes any list of the CA, whatever it revokes.
func checkCRL(der []byte, ca *CA, now time.Time) []string {
	if len(der) == 0 {
		return []string{"client.crl is missing"}
	}
	list, err := x509.ParseRevocationList(der)
	switch {
	case err != nil:
		return []string{"client.crl is not a revocation list in DER"}
	case list.CheckSignatureFrom(ca.cert) != nil:
		return []string{"client.crl was issued by another CA"}
	case now.After(list.NextUpdate):
		return []string{"client.crl expired at " + list.NextUpdate.UTC().Format(time.RFC3339)}
	}
	return nil
}
