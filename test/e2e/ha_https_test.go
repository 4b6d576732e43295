package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/test/drive"
)

// TestTwoDaemonsOverHTTPS asks two daemons as people elsewhere do: the one that
// leads answers, the other says where it is, and the history has the person.
func TestTwoDaemonsOverHTTPS(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	ca := drive.NewAuthority(t, p.Dir, "api")
	cert, key := ca.Issue("server", "127.0.0.1")
	aliceCert, aliceKey := ca.Issue("alice")
	var urls [2]string
	for i, e := range p.two {
		address := drive.FreePort(t, "127.0.0.1")
		urls[i] = "https://" + address
		f := filepath.Join(e.Dir, "config.yml")
		text, err := os.ReadFile(f)
		must(t, err)
		e.Write("config.yml", string(text)+fmt.Sprintf("listen: {address: '%s', certificate: %s, key: %s, client_ca: %s}\n", address, cert, key, ca.File))
	}
	alice := func(servers string, args ...string) drive.Result {
		cmd := p.Command([]string{"CKE_SERVER=" + servers, "CKE_TLS_CA=" + ca.File, "CKE_TLS_CERT=" + aliceCert, "CKE_TLS_KEY=" + aliceKey}, "ckecli", args...)
		return p.Finish(cmd)
	}
	p.start()
	both := urls[1] + "," + urls[0]
	if r := alice(both, "cluster", "set", p.Write("cluster.yml", p.clusterYAML(1)), "--wait"); r.Code != 0 {
		t.Fatalf("set: %+v", r)
	}
	if r := alice(both, "pause", "--why", "new switch"); r.Code != 0 {
		t.Fatalf("pause: %+v", r)
	}
	r := alice(urls[1], "resume", "--cluster", "main")
	if r.Code != 4 || !strings.Contains(r.Stderr, "hint: ask that one: ckecli --server "+urls[0]+"; or name all") {
		t.Errorf("the follower says %+v", r)
	}
	leader := drive.Decode[api.Leader](t, alice(urls[1], "leader", "--output", "json").Stdout)
	if leader.Server != urls[0] || leader.PID != p.PID() || leader.Self {
		t.Errorf("the follower says %+v leads", leader)
	}
	p.Kill()
	p.leads(1)
	if s := p.two[1].Status(); s.Paused == nil || s.Paused.By != "alice" || s.Paused.Why != "new switch" {
		t.Errorf("the pause is %+v after a hand-over", s.Paused)
	}
	if r := alice(urls[0]+","+urls[1], "resume"); r.Code != 0 {
		t.Errorf("resume: %+v", r)
	}
	if r := alice(both, "history"); r.Code != 0 || strings.Count(r.Stdout, "alice") < 3 {
		t.Errorf("history: %+v", r)
	}
}
