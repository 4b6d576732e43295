package pki

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
)

func testSpec() cluster.Spec { return cluster.Spec{Name: "main", ClusterDomain: "cluster.local"} }

func testNode() cluster.Node {
	return cluster.Node{Hostname: "cp1", Address: netip.MustParseAddr("10.77.0.11")}
}

func testAuthority(t *testing.T) Authority {
	t.Helper()
	a, err := NewAuthority("main", testTime())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func testFiles(t *testing.T, a Authority, n cluster.Node, now time.Time) MemberFiles {
	t.Helper()
	m, err := a.MemberSet(testSpec(), n, now)
	if err != nil {
		t.Fatal(err)
	}
	return MemberFiles{
		ServerCert: m.ServerCert, PeerCert: m.PeerCert, ClientCA: m.ClientCA, PeerCA: m.PeerCA, CRL: m.CRL,
		ServerKeyFits: true, PeerKeyFits: true,
	}
}

func TestMemberNames(t *testing.T) {
	serverNames := []string{
		"cp1", "localhost",
		"cke-etcd", "cke-etcd.kube-system", "cke-etcd.kube-system.svc", "cke-etcd.kube-system.svc.cluster.local",
		"cp1.cke-etcd.kube-system.svc.cluster.local",
	}
	for address, c := range map[string]struct{ server, peer []string }{
		"10.77.0.11":        {[]string{"10.77.0.11", "127.0.0.1", "::1"}, []string{"10.77.0.11"}},
		"fd00::11":          {[]string{"fd00::11", "127.0.0.1", "::1"}, []string{"fd00::11"}},
		"::ffff:10.77.0.11": {[]string{"10.77.0.11", "127.0.0.1", "::1"}, []string{"10.77.0.11"}},
		"127.0.0.1":         {[]string{"127.0.0.1", "::1"}, []string{"127.0.0.1"}},
		"127.0.0.3":         {[]string{"127.0.0.3", "127.0.0.1", "::1"}, []string{"127.0.0.3", "127.0.0.1"}},
		"::1":               {[]string{"::1", "127.0.0.1"}, []string{"::1", "127.0.0.1"}},
	} {
		a, node := testAuthority(t), cluster.Node{Hostname: "cp1", Address: netip.MustParseAddr(address)}
		f := testFiles(t, a, node, testTime())
		server, err := parseCertificate(f.ServerCert)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := parseCertificate(f.PeerCert)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := certNames(server), append(slices.Clone(serverNames), c.server...); !slices.Equal(got, want) {
			t.Errorf("%s: server names\n got %v\nwant %v", address, got, want)
		}
		if got := certNames(peer); !slices.Equal(got, c.peer) {
			t.Errorf("%s: peer names %v, want %v", address, got, c.peer)
		}
		for _, name := range certNames(server) {
			if err := verify(f.ServerCert, a.Server, x509.VerifyOptions{DNSName: name}); err != nil {
				t.Errorf("a client that calls %s: %v", name, err)
			}
		}
		for _, name := range c.peer {
			both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
			for _, usage := range both {
				opts := x509.VerifyOptions{DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}
				if err := verify(f.PeerCert, a.Peer, opts); err != nil {
					t.Errorf("a peer that calls or is called at %s: %v", name, err)
				}
			}
		}
		asClient := x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if verify(f.ServerCert, a.Server, asClient) == nil {
			t.Error("server.crt is good for a client, which nothing needs")
		}
		for _, role := range Roles() {
			if (verify(f.ServerCert, a.CA(role), x509.VerifyOptions{}) == nil) != (role == Server) {
				t.Errorf("server.crt under the %s CA", role)
			}
		}
	}
}

func TestIssuedMemberIsGood(t *testing.T) {
	a, now := testAuthority(t), testTime()
	for _, at := range []time.Duration{0, time.Hour, 20 * 365 * 24 * time.Hour, caLife - time.Hour, caLife - 2*time.Second} {
		for _, address := range []string{"10.0.0.1", "127.0.0.5", "fd00::1", "::ffff:10.0.0.1"} {
			node := cluster.Node{Hostname: "cp1", Address: netip.MustParseAddr(address)}
			f := testFiles(t, a, node, now.Add(at))
			if got := CheckMember(f, testSpec(), node, a, now.Add(at)).Texts(); len(got) != 0 {
				t.Errorf("%s, %s after the CA's birth: %q", address, at, got)
			}
		}
	}
	if _, err := a.MemberSet(testSpec(), testNode(), now.Add(caLife)); err == nil {
		t.Error("an ended CA issued")
	}
}

func TestCheckMember(t *testing.T) {
	a, now := testAuthority(t), testTime()
	foreign := testFiles(t, testAuthority(t), testNode(), now)
	const strangeCA = "client-ca.crt is not this cluster's etcd-client CA"
	for name, c := range map[string]struct {
		change func(*MemberFiles)
		want   []string
	}{
		"good": {func(*MemberFiles) {}, nil},
		"nothing yet": {func(f *MemberFiles) { *f = MemberFiles{} }, []string{
			"server.crt is missing", "peer.crt is missing", "client-ca.crt is missing", "peer-ca.crt is missing", "client.crl is missing",
		}},
		"server.key":   {func(f *MemberFiles) { f.ServerKeyFits = false }, []string{"server.key does not belong to server.crt"}},
		"peer.key":     {func(f *MemberFiles) { f.PeerKeyFits = false }, []string{"peer.key does not belong to peer.crt"}},
		"not PEM":      {func(f *MemberFiles) { f.PeerCert = []byte("junk") }, []string{"peer.crt is unreadable: it is not a PEM certificate"}},
		"other CA":     {func(f *MemberFiles) { f.ServerCert = foreign.ServerCert }, []string{"server.crt was issued by another CA"}},
		"other role":   {func(f *MemberFiles) { f.ClientCA = f.PeerCA }, []string{strangeCA}},
		"other pool":   {func(f *MemberFiles) { f.PeerCA = foreign.PeerCA }, []string{"peer-ca.crt is not this cluster's etcd-peer CA"}},
		"extra trust":  {func(f *MemberFiles) { f.ClientCA = append(f.ClientCA, foreign.ClientCA...) }, []string{strangeCA}},
		"list in PEM":  {func(f *MemberFiles) { f.CRL = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: f.CRL}) }, []string{"client.crl is not a revocation list in DER"}},
		"list cut":     {func(f *MemberFiles) { f.CRL = f.CRL[:len(f.CRL)-1] }, []string{"client.crl is not a revocation list in DER"}},
		"other's list": {func(f *MemberFiles) { f.CRL = foreign.CRL }, []string{"client.crl was issued by another CA"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := testFiles(t, a, testNode(), now)
			c.change(&f)
			if got := CheckMember(f, testSpec(), testNode(), a, now).Texts(); !slices.Equal(got, c.want) {
				t.Errorf("\n got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCheckMemberReadsTheCertificates(t *testing.T) {
	a, now := testAuthority(t), testTime()
	for name, c := range map[string]struct {
		server, peer func(*Request)
		want         []string
	}{
		"other CN":    {func(r *Request) { r.CommonName = "cp2" }, nil, []string{`server.crt is for "cp2", not for "cp1"`}},
		"fewer names": {func(r *Request) { r.DNSNames = r.DNSNames[1:] }, nil, []string{"server.crt lacks the name cp1"}},
		"old address": {func(r *Request) { r.IPs[0] = netip.MustParseAddr("10.77.0.99") }, nil, []string{
			"server.crt lacks the name 10.77.0.11", "server.crt has the name 10.77.0.99, which is not this member's",
		}},
		"client only": {func(r *Request) { r.ServerAuth, r.ClientAuth = false, true }, nil, []string{"server.crt may not be used as a server"}},
		"no address":  {nil, func(r *Request) { r.IPs = nil }, []string{"peer.crt lacks the name 10.77.0.11"}},
		"server only": {nil, func(r *Request) { r.ClientAuth = false }, []string{"peer.crt may not be used as a client"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := testFiles(t, a, testNode(), now)
			if c.server != nil {
				f.ServerCert = altered(t, a.Server, ServerRequest(testSpec(), testNode()), c.server)
			}
			if c.peer != nil {
				f.PeerCert = altered(t, a.Peer, PeerRequest(testSpec(), testNode()), c.peer)
			}
			if got := CheckMember(f, testSpec(), testNode(), a, now).Texts(); !slices.Equal(got, c.want) {
				t.Errorf("\n got %q\nwant %q", got, c.want)
			}
		})
	}
}

func altered(t *testing.T, ca *CA, req Request, change func(*Request)) []byte {
	t.Helper()
	change(&req)
	c, err := ca.Issue(req, testTime())
	if err != nil {
		t.Fatal(err)
	}
	return c.CertPEM
}

func TestCheckMemberInTime(t *testing.T) {
	a, now, year := testAuthority(t), testTime(), 365*24*time.Hour
	f := testFiles(t, a, testNode(), now)
	start, end := "2026-03-01T12:28:15Z", "2036-02-27T12:30:15Z"
	for after, suffix := range map[time.Duration]string{
		-time.Hour:    " is not valid before " + start,
		0:             "",
		6 * year:      "",
		7 * year:      " expires at " + end + " (renewed from two thirds of its life)",
		10*year - 1e9: " expires at " + end + " (renewed from two thirds of its life)",
		11 * year:     " expired at " + end,
	} {
		var want []string
		if suffix != "" {
			want = []string{"server.crt" + suffix, "peer.crt" + suffix}
		}
		if got := CheckMember(f, testSpec(), testNode(), a, now.Add(after)).Texts(); !slices.Equal(got, want) {
			t.Errorf("after %s\n got %q\nwant %q", after, got, want)
		}
	}
}

// A certificate that ends with its CA is not renewed again and again in vain.
func TestRenewalEndsWithTheCA(t *testing.T) {
	a, now := testAuthority(t), testTime()
	f := testFiles(t, a, testNode(), now.Add(caLife-time.Hour))
	if got := CheckMember(f, testSpec(), testNode(), a, now.Add(caLife-time.Minute)).Texts(); len(got) != 0 {
		t.Errorf("a minute before the CA's end: %q", got)
	}
	if got := CheckMember(f, testSpec(), testNode(), a, now.Add(caLife+time.Minute)).Texts(); len(got) != 3 {
		t.Errorf("a minute after it, want both certificates and the list: %q", got)
	}
}
