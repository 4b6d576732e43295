package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cke/internal/cluster"
)

func testFile(f *cluster.Founding, sealed bool) serviceFile {
	u := cluster.Unit{
		Cluster: "prod", Node: "cp1", Member: 0x8e9e05c52164694d, Address: netip.MustParseAddr("10.0.0.1"),
		Version: "3.7.3", Quota: 8 << 30, Founding: f,
	}
	p := testPaths("")
	return serviceFile{
		unit: u, binary: "/opt/cke/etcd/v3.7.3/etcd", paths: p, mark: p.data + "/" + markName, sealed: sealed, maxFiles: 1 << 20,
	}
}

func TestServiceFile(t *testing.T) {
	t.Parallel()
	odd := testFile(nil, true)
	odd.maxFiles = 20000
	odd.unit.ExtraArgs = map[string]string{"cors": `a b"c\d%n$HOME ; 'é'`, "max-learners": "2"}
	odd.unit.ExtraEnv = map[string]string{"GOGC": "50", "GODEBUG": `x=%H,"y"\`}
	for name, f := range map[string]serviceFile{
		"sealed": testFile(nil, true),
		"found":  testFile(&cluster.Founding{New: true, Token: "t0k", Peers: map[cluster.NodeName]string{"cp1": "https://10.0.0.1:2380"}}, false),
		"odd":    odd,
	} {
		got := f.render()
		path := filepath.Join("testdata", "service", name+".golden")
		if *update {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if m, ok := memberOfFile(got); !ok || m != f.unit.Member {
			t.Errorf("%s: of member %s, %v", name, m, ok)
		}
	}
	for _, text := range []string{"", "[Unit]\n", fileHead, fileHead + "x of", "# Written by hand\n"} {
		if _, ok := memberOfFile(text); ok {
			t.Errorf("%q is CKE's", text)
		}
	}
}

// Whatever a unit carries arrives at etcd as it is, in its own place.
func TestServiceFileCarriesEveryValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.OneOf(rapid.StringMatching(`[ -~]{0,20}`), rapid.String(), rapid.StringMatching(`[%$"'\\ ;#]{1,8}`)).
			Filter(printable)
		f := testFile(nil, true)
		f.unit.ExtraArgs = rapid.MapOfN(rapid.StringMatching(flagRE.String()), value, 0, 4).Draw(r, "args")
		f.unit.ExtraEnv = rapid.MapOfN(rapid.StringMatching(`X[A-Z0-9_]{0,5}`), value, 0, 4).Draw(r, "env")
		got := readService(r, f.render())
		if diff := cmp.Diff(append([]string{f.binary}, argv(f.unit, f.paths)...), got.exec); diff != "" {
			r.Fatalf("the command line (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(append(env(f.unit), "CKE_UNIT="+f.hash()), got.env); diff != "" {
			r.Fatalf("the environment (-want +got):\n%s", diff)
		}
	})
}

type serviceText struct{ exec, env []string }

// readService reads a unit file by the rules of systemd.syntax(7): lines, then
// words in quotes, then specifiers and, in a command line, variables.
func readService(t *rapid.T, text string) serviceText {
	var out serviceText
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		switch name, value, _ := strings.Cut(line, "="); name {
		case "ExecStart":
			for _, w := range wordsOf(t, value) {
				out.exec = append(out.exec, doubled(t, w, '$'))
			}
		case "Environment":
			out.env = append(out.env, wordsOf(t, value)...)
		}
	}
	return out
}

func wordsOf(t *rapid.T, s string) []string {
	var words []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		if s[0] != '"' {
			t.Fatalf("a word without quotes: %.40q", s)
		}
		var w strings.Builder
		i := 1
		for ; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				if i++; i == len(s) || !strings.ContainsRune(`\"`, rune(s[i])) {
					t.Fatalf("an escape that systemd reads otherwise: %.40q", s)
				}
			}
			w.WriteByte(s[i])
		}
		if i == len(s) || i+1 < len(s) && s[i+1] != ' ' {
			t.Fatalf("a word does not end: %.40q", s)
		}
		words = append(words, doubled(t, w.String(), '%'))
		s = s[i+1:]
	}
	return words
}

// doubled undoes the doubling of a sign that would mean something alone.
func doubled(t *rapid.T, s string, sign byte) string {
	pair := string([]byte{sign, sign})
	if strings.IndexByte(strings.ReplaceAll(s, pair, ""), sign) >= 0 {
		t.Fatalf("%c stands alone in %q", sign, s)
	}
	return strings.ReplaceAll(s, pair, string(sign))
}

// Two units with the same values are one; a difference is told.
func TestServiceHash(t *testing.T) {
	t.Parallel()
	a, b := testFile(nil, true), testFile(nil, false)
	if a.hash() != b.hash() || !unitHash.MatchString(a.hash()) {
		t.Errorf("%s and %s", a.hash(), b.hash())
	}
	b.unit.Quota++
	if a.hash() == b.hash() {
		t.Error("another quota has the same hash")
	}
}

func TestWhenSystemdReadsAnew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replaced bool
		p        properties
		want     bool
	}{
		"as it is":           {false, properties{"LoadState": "loaded", "NeedDaemonReload": false}, false},
		"a newer file":       {false, properties{"LoadState": "loaded", "NeedDaemonReload": true}, true},
		"not there before":   {false, properties{"LoadState": "not-found"}, true},
		"the clock set back": {true, properties{"LoadState": "loaded", "NeedDaemonReload": false}, true},
	} {
		if got := mustReload(c.replaced, c.p); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
