package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// walkBootstrap founds a cluster of three anew for every effect.
func walkBootstrap(t *testing.T, r *reached, rnd *rand.Rand) {
	w := newWalk(r)
	for n := w.next(); n > 0; n = w.next() {
		t.Run(fmt.Sprint(n), func(t *testing.T) { crashBootstrap(t, w, []int{n}) })
		if t.Failed() {
			return
		}
	}
	t.Logf("a bootstrap of three has %d effects", w.count())
	for _, kills := range doubles(w, rnd) {
		t.Run(fmt.Sprint(kills), func(t *testing.T) { crashBootstrap(t, w, kills) })
	}
}

// doubles are the double kills to try: a sample, or in the long form all.
func doubles(w *walk, rnd *rand.Rand) [][]int {
	var all [][]int
	if !drive.Long() {
		for range 4 {
			all = append(all, w.double(rnd))
		}
		return all
	}
	for first := 1; first <= w.count(); first++ {
		for second := 1; second <= w.count()-first; second++ {
			all = append(all, []int{first, second})
		}
	}
	return all
}

func crashBootstrap(t *testing.T, w *walk, kills []int) {
	m := &mortal{env: newEnv(t), walk: w}
	data := map[string]string{} // node → the data directory a killed daemon left
	m.dead = func() {
		for node := range m.members() {
			in, aside := m.dataDirs(node)
			if len(in) > 1 || len(aside) > 0 {
				t.Errorf("%s has data %v, aside %v", node, in, aside)
			}
			if len(in) == 1 && data[node] != "" && data[node] != in[0] {
				t.Errorf("%s had data %s and has %s: founded twice", node, data[node], in[0])
			}
			if len(in) == 1 {
				data[node] = in[0]
			}
		}
	}
	var cert api.Certificate
	issued := false
	m.watch = func() {
		if !issued {
			cert, issued = m.firstCertificate()
		}
	}
	m.crash(kills, 1, 2, 3)
	if !issued {
		t.Fatal("no certificate of root could be had")
	}
	root := m.connect(cert, 1, 2, 3)
	ids := m.checkCluster(root, 1, 2, 3)
	m.checkFounding(ids, data)
	m.checkAuth(root)
}

// firstCertificate asks for a certificate of root, which is refused until the
// cluster is founded, and checks when it gets one that authentication is on at
// every member.
func (m *mortal) firstCertificate() (api.Certificate, bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	cert, err := m.Client().IssueRoot(ctx, "main")
	if err != nil {
		return cert, false
	}
	for i := 1; i <= 3; i++ {
		c := m.connect(cert, i)
		m.ask(fmt.Sprintf("ask cp%d for the auth status", i), func(ctx context.Context) error {
			s, err := c.AuthStatus(ctx)
			if err == nil && !s.Enabled {
				m.t.Errorf("a certificate was issued while authentication on cp%d was off", i)
			}
			return err
		})
	}
	return cert, true
}

// checkFounding checks that the cluster was founded once: by the members that
// were recorded, on the data that was there when a daemon was killed.
func (m *mortal) checkFounding(ids map[string]cluster.MemberID, data map[string]string) {
	m.t.Helper()
	var founded []string
	for _, r := range m.History() {
		if r.Step == nil || r.Error != "" { // what failed on a busy machine is taken again
			continue
		}
		if r.Step.Kind == plan.RecordBootstrap {
			founded = append(founded, r.String())
		}
		if b := r.Step.Bootstrap; b != nil {
			if want := m.Status().ClusterID; b.ClusterID != want {
				m.t.Errorf("finish-bootstrap recorded cluster %s, it is %s", b.ClusterID, want)
			}
			for _, f := range b.Founders {
				if got := ids[string(f.Node.Hostname)]; got != f.Member || got != cluster.BootstrapMemberID(b.Token, f.Node.PeerURL()) {
					m.t.Errorf("%s carries member %s, recorded was %s", f.Node.Hostname, got, f.Member)
				}
			}
		}
	}
	if len(founded) != 1 {
		m.t.Errorf("the founding was recorded %d times: %q", len(founded), founded)
	}
	for node, id := range ids {
		in, aside := m.dataDirs(node)
		want := []string{filepath.Join(m.Dir, "nodes", node, "var/lib/cke/etcd/main", id.String())}
		if !slices.Equal(in, want) || len(aside) > 0 || data[node] != "" && data[node] != want[0] {
			m.t.Errorf("%s: data %v (when a daemon was killed: %q), aside %v; want %v only", node, in, data[node], aside, want)
		}
	}
}
