package reconcile

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

// inTurn checks that these steps worked on one node each, one after another.
func inTurn(t *testing.T, w *world, k plan.Kind, nodes ...cluster.NodeName) {
	t.Helper()
	var got []cluster.NodeName
	var end time.Time
	for _, r := range w.begun(k) {
		if len(r.Step.Nodes) != 1 || r.At.Before(end) {
			t.Errorf("%s on %v at %s, while another went on until %s", k, r.Step.Nodes, r.At, end)
		}
		got = append(got, r.Step.Nodes...)
		end = r.At.Add(time.Duration(r.TookMS) * time.Millisecond)
	}
	if !slices.Equal(got, nodes) {
		t.Errorf("%s worked on %v, want %v", k, got, nodes)
	}
}

// names are those of an installed server certificate.
func names(t *testing.T, w *world, node cluster.NodeName) (all []string) {
	t.Helper()
	w.do(func() {
		block, _ := pem.Decode(w.hosts[node].facts.Public[host.ServerCert])
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Error(err)
			return
		}
		all = cert.DNSNames
	})
	return all
}

// TestClusterDomainChanges: every member gets a certificate with the new names,
// one after another, a slow host too, and no process is touched.
func TestClusterDomainChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		w.hosts["n1"].takes = 2 * time.Second
		l, _ := w.begin(t)
		settle(t, w, l)
		w.do(func() { w.wanted.Spec.ClusterDomain = "example.org" })
		l.Wake()
		pass(time.Second)
		settle(t, w, l)
		inTurn(t, w, plan.InstallCertificates, "n0", "n1", "n2")
		for n := range w.hosts {
			all := names(t, w, n)
			want := []string{"cke-etcd.kube-system.svc.example.org", string(n) + ".cke-etcd.kube-system.svc.example.org"}
			for _, name := range want {
				if !slices.Contains(all, name) {
					t.Errorf("%s: %s is not among %s", n, name, all)
				}
			}
			if strings.Contains(fmt.Sprint(all), "cluster.local") {
				t.Errorf("%s still has the old names: %s", n, all)
			}
			for _, verb := range []string{"install-unit", "start-unit", "stop-unit", "retire-unit"} {
				if got := w.calls(n, verb); got != 0 {
					t.Errorf("%s: %d calls of %s", n, got, verb)
				}
			}
		}
	})
}

// TestAPIServerCertificates: installed everywhere at once, renewed one after
// another at two thirds, and installed again where the spec wants it elsewhere.
func TestAPIServerCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		for i := range w.wanted.Spec.Nodes {
			w.wanted.Spec.Nodes[i].APIServer = i > 0
		}
		l, end := w.begin(t)
		pass(time.Second)
		settle(t, w, l)
		if rs := w.begun(plan.InstallClientCertificates); len(rs) != 1 || !slices.Equal(rs[0].Step.Nodes, []cluster.NodeName{"n1", "n2"}) {
			t.Errorf("%d steps, want one on n1 and n2", len(rs))
		}
		if got := w.calls("n0", "put-client-files"); got != 0 {
			t.Errorf("n0, which asks for none, got %d", got)
		}
		end()
		w.do(func() { w.records = nil })
		pass(250 * 24 * time.Hour)
		l, end = w.begin(t)
		pass(time.Second)
		settle(t, w, l)
		inTurn(t, w, plan.InstallClientCertificates, "n1", "n2")
		end()
		w.do(func() {
			w.records = nil
			w.wanted.Spec.Kubernetes.APIServer.Directory = "/srv/pki"
			w.hosts["n2"].facts.Client.Drift = []string{"apiserver-etcd-client.key has mode 0644, not 0600"}
		})
		l, _ = w.begin(t)
		pass(time.Second)
		settle(t, w, l)
		inTurn(t, w, plan.InstallClientCertificates, "n1", "n2")
		w.do(func() {
			if got := w.hosts["n2"].facts.Client; got.Files != w.wanted.Spec.Kubernetes.APIServer || len(got.Drift) > 0 {
				t.Errorf("n2 has %+v", got)
			}
		})
	})
}

// TestMemberIsWithdrawnBeforeItGoes: a serving member leaves when neither
// Kubernetes nor a gateway sends clients there any more, or ten seconds after.
func TestMemberIsWithdrawnBeforeItGoes(t *testing.T) {
	for _, c := range []struct {
		name        string
		lag         time.Duration
		stuck       bool
		least, most time.Duration
	}{
		{"nothing is published", 0, false, 0, time.Second},
		{"Kubernetes takes a second", time.Second, false, time.Second, 3 * time.Second},
		{"Kubernetes goes on offering it", time.Second, true, 10 * time.Second, 12 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4, 4)
				w.kube.lag = c.lag
				for i := range 2 {
					w.wanted.Spec.Nodes[i].Gateway = true
				}
				l, _ := w.begin(t)
				pass(5 * time.Second)
				settle(t, w, l)
				gone := w.wanted.Spec.Nodes[3]
				var led []cluster.Upstream
				w.do(func() { led = w.hosts["n0"].facts.Gateway.Gateway.Upstreams })
				if offers := w.published().Ready; len(led) != 4 || c.lag > 0 && !slices.Contains(offers, gone.Address) {
					t.Fatalf("the gateway leads to %v, Kubernetes offers %v", led, offers)
				}
				w.do(func() {
					w.kube.stuck = c.stuck
					w.wanted.Spec.Nodes = slices.Clone(w.wanted.Spec.Nodes[:3])
					w.wanted.Spec.Etcd.Members = 3
					w.wanted.Leaving = []cluster.Node{gone}
				})
				l.Wake()
				took := w.until(t, time.Minute, "take the member out", func() bool { return len(w.members) == 3 })
				if took < c.least || took > c.most {
					t.Errorf("it was taken out after %s, want %s to %s", took, c.least, c.most)
				}
				rs := w.begun(plan.RemoveMember)
				if len(rs) != 1 || strings.Contains(rs[0].Step.Reason, "clients are still sent there by Kubernetes") != c.stuck {
					t.Errorf("the records are %+v", rs)
				}
				for _, n := range []cluster.NodeName{"n0", "n1"} {
					w.do(func() { wasDrained(t, w.hosts[n].facts.Gateway.Gateway, gone) })
				}
				w.do(func() { w.kube.stuck = false })
				settle(t, w, l)
				w.do(func() {
					for _, n := range []cluster.NodeName{"n0", "n1"} {
						if got := w.hosts[n].facts.Gateway.Gateway.Upstreams; len(got) != 3 {
							t.Errorf("the gateway on %s leads to %v", n, got)
						}
					}
				})
			})
		})
	}
}

// wasDrained checks that no new connection goes to a node's member.
func wasDrained(t *testing.T, g cluster.Gateway, n cluster.Node) {
	t.Helper()
	for _, u := range g.Upstreams {
		if u.Address == netip.AddrPortFrom(n.Address, cluster.ClientPort) && !u.Draining {
			t.Errorf("the member is out, and a gateway still leads to it: %v", g.Upstreams)
		}
	}
}
