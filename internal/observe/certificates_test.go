package observe

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/pki"
)

// TestCertificatesAreJudgedAnew: what was found of files holds a while, but not
// of other files, of another node or domain, nor for ever.
func TestCertificatesAreJudgedAnew(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	authority, err := pki.NewAuthority("main", now)
	if err != nil {
		t.Fatal(err)
	}
	n := cluster.Node{Hostname: "n1", Address: netip.MustParseAddr("10.0.0.1")}
	spec := cluster.Spec{Name: "main", ClusterDomain: "cluster.local"}
	set, err := authority.MemberSet(spec, n, now)
	if err != nil {
		t.Fatal(err)
	}
	good := host.Facts{
		Public: map[host.FileKind][]byte{
			host.ServerCert: set.ServerCert, host.PeerCert: set.PeerCert,
			host.ClientCA: set.ClientCA, host.PeerCA: set.PeerCA, host.ClientCRL: set.CRL,
		},
		KeyFits: map[host.FileKind]bool{host.ServerKey: true, host.PeerKey: true},
	}
	bad := good
	bad.Public = maps.Clone(good.Public)
	delete(bad.Public, host.ClientCRL)
	unfit := good
	unfit.KeyFits = map[host.FileKind]bool{host.ServerKey: true}

	o := New(Options{Authority: authority, Now: func() time.Time { return now }})
	defer o.Close()
	for _, c := range []struct {
		what  string
		after time.Duration
		spec  cluster.Spec
		node  cluster.Node
		facts host.Facts
		wrong bool
	}{
		{"at first", 0, spec, n, good, false},
		{"a file is gone", 0, spec, n, bad, true},
		{"it is back", 0, spec, n, good, false},
		{"a key does not fit", time.Second, spec, n, unfit, true},
		{"it fits", 0, spec, n, good, false},
		{"another domain", 0, cluster.Spec{Name: "main", ClusterDomain: "k8s.example"}, n, good, true},
		{"another address", 0, spec, cluster.Node{Hostname: "n1", Address: netip.MustParseAddr("10.0.0.2")}, good, true},
		{"as at first", 0, spec, n, good, false},
		{"the list has expired", 200 * 365 * 24 * time.Hour, spec, n, good, true},
		{"the clock goes back", -200 * 365 * 24 * time.Hour, spec, n, good, false},
	} {
		now = now.Add(c.after)
		if found := o.certificates(c.spec, c.node, c.facts); (len(found) > 0) != c.wrong {
			t.Errorf("%s: %v", c.what, found.Texts())
		}
	}
}
