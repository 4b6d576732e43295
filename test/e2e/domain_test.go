package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// TestClusterDomain: when the cluster's domain changes every member shows a
// certificate with the new names, one after another, and none is restarted.
func TestClusterDomain(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	before, since := e.members(), len(e.History())
	e.Set(strings.Replace(e.clusterYAML(1, 2, 3), "name: main\n", "name: main\ncluster_domain: prod.example\n", 1))
	cert := e.RootCert()
	for i := 1; i <= 3; i++ {
		for _, name := range []string{
			"cke-etcd.kube-system.svc.prod.example", fmt.Sprintf("cp%d.cke-etcd.kube-system.svc.prod.example", i),
		} {
			e.Eventually(name+" is verified", func() error { return e.shows(cert.CACertificate, i, name) })
		}
		if e.shows(cert.CACertificate, i, "cke-etcd.kube-system.svc.cluster.local") == nil {
			t.Errorf("member %d still has the old name", i)
		}
	}
	e.Settled()
	if after := e.members(); !maps.Equal(after, before) {
		t.Errorf("the processes are %v, were %v", after, before)
	}
	turns := map[cluster.NodeName]bool{}
	for _, r := range e.History()[since:] {
		if r.Step == nil || r.Step.Kind != plan.InstallCertificates {
			continue
		}
		if turns[r.Step.Nodes[0]] = true; len(r.Step.Nodes) != 1 {
			t.Errorf("certificates are replaced on several nodes at once: %s", r)
		}
	}
	if len(turns) != 3 {
		t.Errorf("only %v had their turn", turns)
	}
}

// shows says why a member's certificate is not good for a name.
func (e *env) shows(ca string, i int, name string) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	conn, err := tls.Dial("tcp", e.addr(i)+":2379", &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return conn.Close()
}
