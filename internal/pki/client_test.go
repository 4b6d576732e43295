package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// TestFindingsThatFail: what makes handshakes fail now is told from what leaves
// time, such as a name or a renewal.
func TestFindingsThatFail(t *testing.T) {
	a, now := testAuthority(t), testTime()
	for name, c := range map[string]struct {
		change func(*MemberFiles)
		later  time.Duration
		fails  bool
	}{
		"good":           {func(*MemberFiles) {}, 0, false},
		"a missing file": {func(f *MemberFiles) { f.PeerCert = nil }, 0, true},
		"another key":    {func(f *MemberFiles) { f.ServerKeyFits = false }, 0, true},
		"no trust":       {func(f *MemberFiles) { f.ClientCA = nil }, 0, true},
		"another's list": {func(f *MemberFiles) { f.CRL = []byte("x") }, 0, true},
		"due":            {func(*MemberFiles) {}, MemberTTL * 3 / 4, false},
		"expired":        {func(*MemberFiles) {}, MemberTTL + time.Hour, true},
		"not yet valid":  {func(*MemberFiles) {}, -time.Hour, true},
		"another CA":     {func(f *MemberFiles) { f.ServerCert = f.PeerCert }, 0, true},
		"a lacking name": {func(f *MemberFiles) {
			f.ServerCert = altered(t, a.Server, ServerRequest(testSpec(), testNode()), dropName)
		}, 0, false},
		"a lacking address": {func(f *MemberFiles) {
			f.PeerCert = altered(t, a.Peer, PeerRequest(testSpec(), testNode()), dropAddress)
		}, 0, true},
		"a client's only": {func(f *MemberFiles) {
			f.ServerCert = altered(t, a.Server, ServerRequest(testSpec(), testNode()), func(r *Request) { r.ServerAuth, r.ClientAuth = false, true })
		}, 0, true},
	} {
		f := testFiles(t, a, testNode(), now)
		c.change(&f)
		got := CheckMember(f, testSpec(), testNode(), a, now.Add(c.later))
		if got.Fail() != c.fails || len(got) == 0 && name != "good" {
			t.Errorf("%s: %q, fail %v, want %v", name, got.Texts(), got.Fail(), c.fails)
		}
	}
}

func dropName(r *Request)    { r.DNSNames = r.DNSNames[1:] }
func dropAddress(r *Request) { r.IPs = nil }

// TestClusterDomainChanges: all a change of the domain does to a certificate is
// that it is due, and what is issued then carries the new names.
func TestClusterDomainChanges(t *testing.T) {
	a, now, spec := testAuthority(t), testTime(), testSpec()
	f := testFiles(t, a, testNode(), now)
	spec.ClusterDomain = "example.org"
	got := CheckMember(f, spec, testNode(), a, now)
	want := []string{
		"server.crt lacks the name cke-etcd.kube-system.svc.example.org", "server.crt lacks the name cp1.cke-etcd.kube-system.svc.example.org",
		"server.crt has the name cke-etcd.kube-system.svc.cluster.local, which is not this member's",
		"server.crt has the name cp1.cke-etcd.kube-system.svc.cluster.local, which is not this member's",
	}
	if !slices.Equal(got.Texts(), want) || got.Fail() {
		t.Errorf("got  %q, fail %v\nwant %q", got.Texts(), got.Fail(), want)
	}
	set, err := a.MemberSet(spec, testNode(), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cke-etcd.kube-system.svc.example.org", "cp1.cke-etcd.kube-system.svc.example.org", "cke-etcd.kube-system.svc"} {
		if err := verify(set.ServerCert, a.Server, x509.VerifyOptions{DNSName: name}); err != nil {
			t.Error(err)
		}
	}
}

func TestAPIServerFiles(t *testing.T) {
	a, now := testAuthority(t), testTime()
	f, err := a.APIServerFiles(now)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v", f, f); strings.Contains(s, "PRIVATE") {
		t.Error("the key is printed")
	}
	cert, err := parseCertificate(f.Cert.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != cluster.APIServerUser || len(certNames(cert)) != 0 || !cert.NotAfter.Equal(now.Add(APIServerTTL).Truncate(time.Second)) {
		t.Errorf("it is for %q %v until %s", cert.Subject.CommonName, certNames(cert), cert.NotAfter)
	}
	other, err := a.Client.Issue(ClientRequest("shop", time.Hour), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ca, cert []byte
		keyFits  bool
		later    time.Duration
		want     []string
		fails    bool
	}{
		"good":          {f.CA, f.Cert.CertPEM, true, 0, nil, false},
		"two thirds":    {f.CA, f.Cert.CertPEM, true, APIServerTTL * 2 / 3, []string{"apiserver-etcd-client.crt expires at 2027-03-01T12:30:15Z (renewed from two thirds of its life)"}, false},
		"just before":   {f.CA, f.Cert.CertPEM, true, APIServerTTL*2/3 - 5*time.Minute, nil, false},
		"expired":       {f.CA, f.Cert.CertPEM, true, APIServerTTL + 1e9, []string{"apiserver-etcd-client.crt expired at 2027-03-01T12:30:15Z"}, true},
		"another user":  {f.CA, other.CertPEM, true, 0, []string{`apiserver-etcd-client.crt is for "shop", not for "kube-apiserver"`}, true},
		"another key":   {f.CA, f.Cert.CertPEM, false, 0, []string{"apiserver-etcd-client.key does not belong to apiserver-etcd-client.crt"}, true},
		"another trust": {a.Client.CertPEM(), f.Cert.CertPEM, true, 0, []string{"etcd-ca.crt is not this cluster's server CA"}, true},
		"nothing":       {nil, nil, false, 0, []string{"apiserver-etcd-client.crt is missing", "etcd-ca.crt is missing"}, true},
	} {
		got := CheckAPIServer(c.ca, c.cert, c.keyFits, a, now.Add(c.later))
		if !slices.Equal(got.Texts(), c.want) || got.Fail() != c.fails {
			t.Errorf("%s:\n got %q, fail %v\nwant %q", name, got.Texts(), got.Fail(), c.want)
		}
	}
}

func TestBundles(t *testing.T) {
	a, now := testAuthority(t), testTime()
	b := Bundles{Client: a.Client}
	ttl := units.Duration(30 * 24 * time.Hour)
	cert, key, err := b.IssueBundle("shop", ttl, now)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := b.IssueBundle("shop", ttl, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user      string
		cert, key []byte
		later     time.Duration
		want      int
	}{
		"good":           {"shop", cert, key, 0, 0},
		"before renewal": {"shop", cert, key, 19 * 24 * time.Hour, 0},
		"renewal":        {"shop", cert, key, 20 * 24 * time.Hour, 1},
		"expired":        {"shop", cert, key, 31 * 24 * time.Hour, 1},
		"another user":   {"web", cert, key, 0, 1},
		"another key":    {"shop", cert, otherKey, 0, 1},
		"no key":         {"shop", cert, nil, 0, 1},
		"nothing":        {"shop", nil, nil, 0, 1},
	} {
		if got := b.CheckBundle(c.user, c.cert, c.key, now.Add(c.later)); len(got) != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	// A bundle that would outlive the CA is shortened, and then not renewed in vain.
	end := now.Add(caLife - time.Hour)
	if cert, key, err = b.IssueBundle("shop", ttl, end); err != nil || len(b.CheckBundle("shop", cert, key, end.Add(50*time.Minute))) != 0 {
		t.Errorf("near the CA's end: %v", err)
	}
	if _, _, err := b.IssueBundle("shop", ttl, now.Add(caLife+time.Hour)); err == nil {
		t.Error("an ended CA issued")
	}
}
