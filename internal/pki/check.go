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

// Finding is one reason why files must be issued again, a short sentence.
type Finding struct {
	Text string
	// Fails: with these files, handshakes fail now. Any other finding leaves time.
	Fails bool
	// Bars: with these files, etcd does not even start.
	Bars bool
}

// Findings are all of them; none means that the files are good.
type Findings []Finding

// Texts are the sentences.
func (fs Findings) Texts() []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Text)
	}
	return out
}

// Fail says whether the files do not work any more.
func (fs Findings) Fail() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Fails })
}

// Bar says whether etcd cannot start with the files.
func (fs Findings) Bar() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Bars })
}

func bars(format string, args ...any) Findings {
	return Findings{{Text: fmt.Sprintf(format, args...), Fails: true, Bars: true}}
}

func fails(format string, args ...any) Findings {
	return Findings{{Text: fmt.Sprintf(format, args...), Fails: true}}
}

func due(format string, args ...any) Findings {
	return Findings{{Text: fmt.Sprintf(format, args...)}}
}

// CheckMember lists every reason why the files of the member on node n must be
// reissued. What MemberSet gives is always good: while the CAs live, a reissue
// cures every reason.
func CheckMember(f MemberFiles, spec cluster.Spec, n cluster.Node, cas Authority, now time.Time) Findings {
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

func (l leaf) problems(now time.Time) Findings {
	file := l.kind + ".crt"
	if len(l.text) == 0 {
		return bars("%s is missing", file)
	}
	cert, err := parseCertificate(l.text)
	if err != nil {
		return bars("%s is unreadable: %v", file, err)
	}
	var out Findings
	for _, f := range slices.Concat(l.identity(cert), l.usages(cert), l.validity(cert, now)) {
		out = append(out, Finding{Text: file + " " + f.Text, Fails: f.Fails})
	}
	if !l.keyFits {
		out = append(out, bars("%s.key does not belong to %s", l.kind, file)...)
	}
	return out
}

// identity reports foreign names too: an address a node once had may be
// another machine's now. A lacking address fails: members and CKE call each other
// by it. A lacking DNS name fails only for who uses that one.
func (l leaf) identity(cert *x509.Certificate) Findings {
	var out Findings
	if cert.CheckSignatureFrom(l.ca.cert) != nil {
		out = append(out, fails("was issued by another CA")...)
	}
	if cn := cert.Subject.CommonName; cn != l.want.CommonName {
		out = append(out, Finding{Text: fmt.Sprintf("is for %q, not for %q", cn, l.want.CommonName), Fails: l.ca.role == Client})
	}
	have, want := certNames(cert), slices.Clone(l.want.DNSNames)
	for _, a := range l.want.IPs {
		want = append(want, a.String())
	}
	for i, name := range want {
		if !slices.Contains(have, name) {
			out = append(out, Finding{Text: "lacks the name " + name, Fails: i >= len(l.want.DNSNames)})
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			out = append(out, due("has the name %s, which is not this member's", name)...)
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

func (l leaf) usages(cert *x509.Certificate) Findings {
	var out Findings
	if l.want.ServerAuth && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		out = append(out, fails("may not be used as a server")...)
	}
	if l.want.ClientAuth && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		out = append(out, fails("may not be used as a client")...)
	}
	return out
}

func (l leaf) validity(cert *x509.Certificate, now time.Time) Findings {
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	renewal := cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
	switch {
	case now.Before(cert.NotBefore):
		return fails("is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return fails("expired at %s", end)
	// A certificate that ends with its CA cannot be made to live longer.
	case !now.Before(renewal) && cert.NotAfter.Before(l.ca.NotAfter()):
		return due("expires at %s (renewed from two thirds of its life)", end)
	}
	return nil
}

func checkTrust(file string, text []byte, ca *CA) Findings {
	switch {
	case len(text) == 0:
		return bars("%s is missing", file)
	case !bytes.Equal(text, ca.certPEM):
		return fails("%s is not this cluster's %s CA", file, ca.role)
	}
	return nil
}

// checkCRL takes any list of the CA, whatever it revokes.
func checkCRL(der []byte, ca *CA, now time.Time) Findings {
	if len(der) == 0 {
		return fails("client.crl is missing")
	}
	list, err := x509.ParseRevocationList(der)
	switch {
	case err != nil:
		return fails("client.crl is not a revocation list in DER")
	case list.CheckSignatureFrom(ca.cert) != nil:
		return fails("client.crl was issued by another CA")
	case now.After(list.NextUpdate):
		return fails("client.crl expired at %s", list.NextUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}
