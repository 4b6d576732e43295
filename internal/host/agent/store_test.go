package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
	"cke/internal/host"
)

func TestPutFiles(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ca := open(t, b), newCA(t)
		files := ca.files(t, b.addr)
		put := func(f map[host.FileKind][]byte) error {
			return h.PutFiles(t.Context(), host.PutFiles{Cluster: testCluster, Files: f})
		}
		must(t, put(files))
		dir := filepath.Join(b.root, "etc/cke/etcd", testCluster, "pki")
		for k, want := range files {
			mode := fs.FileMode(0o644)
			if strings.HasSuffix(string(k), ".key") {
				mode = 0o600
			}
			info, err := os.Stat(filepath.Join(dir, string(k)))
			must(t, err)
			got, err := os.ReadFile(filepath.Join(dir, string(k)))
			if err != nil || !bytes.Equal(got, want) || info.Mode().Perm() != mode {
				t.Errorf("%s: mode %v, %v", k, info.Mode(), err)
			}
		}
		perm := fs.FileMode(0o700)
		if onMachine() {
			perm = 0o710 // for the members' group to pass
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != perm {
			t.Errorf("directory: %v %v", info, err)
		}
		f := facts(t, h, b)
		if diff := cmp.Diff(map[host.FileKind]bool{host.ServerKey: true, host.PeerKey: true}, f.KeyFits); diff != "" {
			t.Error(diff)
		}
		for k, got := range f.Public {
			if strings.HasSuffix(string(k), ".key") || !bytes.Equal(got, files[k]) {
				t.Errorf("%s is told wrong", k)
			}
		}

		// Half a pair on disk is told.
		cert, key := ca.issue(t, "server", b.addr)
		must(t, os.WriteFile(filepath.Join(dir, "server.key"), key, 0o600))
		if f = facts(t, h, b); f.KeyFits[host.ServerKey] || !f.KeyFits[host.PeerKey] {
			t.Errorf("key fits: %v", f.KeyFits)
		}
		must(t, put(map[host.FileKind][]byte{host.ServerCert: cert, host.ServerKey: key}))
		if f = facts(t, h, b); !f.KeyFits[host.ServerKey] {
			t.Errorf("key fits: %v", f.KeyFits)
		}
		if left, err := names(dir); err != nil || len(left) != len(files) {
			t.Errorf("left behind: %v %v", left, err)
		}

		for name, bad := range map[string]map[host.FileKind][]byte{
			"nothing":         {},
			"unknown kind":    {"unit.json": []byte("{}")},
			"key alone":       {host.ServerKey: key},
			"cert alone":      {host.ServerCert: cert},
			"another's key":   {host.ServerCert: cert, host.ServerKey: files[host.ServerKey]},
			"CRL not DER":     {host.ClientCRL: []byte("-----BEGIN X509 CRL-----\n")},
			"CA not PEM":      {host.ClientCA: []byte("x")},
			"CA not a cert":   {host.PeerCA: key},
			"good beside bad": {host.ClientCA: newCA(t).pem(), host.ClientCRL: nil},
		} {
			t.Run(name, func(t *testing.T) { wantInvalid(t, put(bad)) })
		}
		if f = facts(t, h, b); !bytes.Equal(f.Public[host.ClientCA], files[host.ClientCA]) {
			t.Error("a refused request changed a file")
		}
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for name, c := range map[string]struct{ ages, want []time.Duration }{
		"none":            {nil, nil},
		"few and young":   {[]time.Duration{0, day, 29 * day}, []time.Duration{0, day, 29 * day}},
		"old":             {[]time.Duration{0, 31 * day}, []time.Duration{0}},
		"newest is old":   {[]time.Duration{100 * day, 200 * day}, []time.Duration{100 * day}},
		"too many":        {hours(1, 2, 3, 4, 5, 6, 7), hours(1, 2, 3, 4, 5)},
		"exactly 30 days": {[]time.Duration{0, 30 * day}, []time.Duration{0, 30 * day}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			a := b.agent()
			now := time.Now().Truncate(time.Millisecond)
			a.now = func() time.Time { return now }
			var want []string
			for i, age := range c.ages {
				n := asideName(7, now.Add(-age))
				// Both places are one list.
				must(t, os.MkdirAll(filepath.Join(a.layout.asides(testCluster)[i%2], n, "member"), 0o700))
				if i < len(c.want) {
					want = append(want, n)
				}
			}
			foreign := filepath.Join(a.layout.asides(testCluster)[0], "7-not-ours")
			must(t, os.MkdirAll(foreign, 0o700))
			must(t, a.prune(testCluster))
			var got []string
			for _, d := range facts(t, host.Local(a.Handler(), b.identity), b).Aside {
				got = append(got, d.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if _, err := os.Stat(foreign); err != nil {
				t.Error(err)
			}
		})
	}
}

func hours(n ...int) []time.Duration {
	out := make([]time.Duration, len(n))
	for i, h := range n {
		out[i] = time.Duration(h) * time.Hour
	}
	return out
}

func TestAsideNames(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("x", 3600))
	for _, want := range []string{"ab-20260304T040607.000Z", "ab-20260304T040607.001Z"} {
		path, err := freeName(dir, 0xab, at)
		if err != nil || filepath.Base(path) != want {
			t.Fatalf("%s, %v", path, err)
		}
		must(t, os.Mkdir(path, 0o700))
	}
	for _, bad := range []string{"", "ab", "ab-", "xyz-20260304T040607.000Z", "0ab-20260304T040607.000Z", "ab-20261304T040607.000Z"} {
		if _, ok := parseAside(bad); ok {
			t.Errorf("%q is taken for a set-aside directory", bad)
		}
	}
}

// A machine that nobody owns and that holds only what is not CKE's is free.
func TestForeignNamesAreNoData(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, dir := range []string{"lost+found", "prod/lost+found", "prod/.aside/7-20260304T040607.000Z"} {
		must(t, os.MkdirAll(filepath.Join(b.root, "var/lib/cke/etcd", dir), 0o700))
	}
	u := b.founder()
	u.Founding.New = false // joining: a founder is kept out by what was set aside
	must(t, inProcess(t, b).InstallUnit(t.Context(), u))
}

func TestMarksAndSealsSurviveTheirFormat(t *testing.T) {
	t.Parallel()
	// What lies on machines is read by later versions: these bytes are a promise.
	m := cluster.MemberID(0xff)
	for want, v := range map[string]any{
		`{"cluster":"c","member":"ff"}`:                                 mark{"c", m},
		`{"cluster":"c","member":"ff","sealed":true,"own_mount":false}`: seal{"c", m, true, false},
		`{"store_id":"s","epoch":3}`:                                    fence{"s", 3, ""},
		`{"store_id":"s","epoch":3,"proof":"p"}`:                        fence{"s", 3, "p"},
	} {
		path := filepath.Join(t.TempDir(), "f")
		must(t, writeJSON(path, v))
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want+"\n" {
			t.Errorf("got %s, want %s: %v", got, want, err)
		}
	}
}

func BenchmarkFacts(b *testing.B) {
	box := newBox(b)
	h, u := inProcess(b, box), box.founder()
	box.install(b, h, u)
	must(b, h.StartUnit(b.Context(), u.Cluster, u.Member))
	for _, running := range []bool{true, false} {
		if !running {
			must(b, h.StopUnit(b.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
		}
		b.Run(fmt.Sprintf("running=%v", running), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				facts(b, h, box)
			}
		})
	}
}
