package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

func TestFlagThatEtcdDoesNotKnow(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		for args, want := range map[string]string{
			"quota-backend-byte":           "etcd 3.7.3 has no flag --quota-backend-byte; --quota-backend-bytes is CKE's own to set",
			"max-request-byte":             "etcd 3.7.3 has no flag --max-request-byte; it has --max-request-bytes",
			"experimental-compact-hash":    "etcd 3.7.3 has no flag --experimental-compact-hash",
			"wal":                          "etcd 3.7.3 has no flag --wal",
			"heartbeat-interval zebra-fly": "etcd 3.7.3 has no flag --zebra-fly",
		} {
			bad := u
			bad.ExtraArgs = map[string]string{}
			for f := range strings.FieldsSeq(args) {
				bad.ExtraArgs[f] = "100"
			}
			err := h.InstallUnit(t.Context(), bad)
			wantInvalid(t, err)
			if err.Error() != want {
				t.Errorf("got %q, want %q", err, want)
			}
		}
		if f := facts(t, h, b); !f.Unit.Unit.Equal(u) {
			t.Fatalf("the unit in place is changed: %+v", f.Unit.Unit)
		}
		u.ExtraArgs = map[string]string{
			"heartbeat-interval": "200", "pre-vote": "true", "memory-mlock": "false", "max-learners": "2",
			"snapshot-catchup-entries": "5000", "cors": "*", "metrics": "extensive",
		}
		u.Retention = units.Duration(36 * time.Hour)
		must(t, h.InstallUnit(t.Context(), u))
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	})
}

// What is not known of a release refuses nothing: etcd itself will.
func TestFlagsOfUnknownReleases(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	u.ExtraArgs = map[string]string{"no-such-flag": "1"}
	u.Version = "3.7.4" // not installed
	must(t, h.InstallUnit(t.Context(), u))
	for version, script := range map[string]string{
		"3.7.5": "echo etcd Version: 3.7.5",                                              // help that is no help
		"3.7.6": `[ "$1" = --version ] && echo etcd Version: 3.7.6 || exit 1`,            // none at all
		"3.7.7": `echo etcd Version: 3.7.7; echo "Options:"; echo "  --name of a thing"`, // another's
	} {
		path := filepath.Join(b.releases, "v"+version, "etcd")
		must(t, os.Mkdir(filepath.Dir(path), 0o755))
		writeProgram(t, path, script+"\n")
		u.Version = version
		must(t, h.InstallUnit(t.Context(), u))
		if f := facts(t, h, b); !slices.Contains(f.Versions, version) {
			t.Errorf("%s is not installed: %v", version, f.Versions)
		}
	}
}

// The binary tells its version and its flags once, when it is first looked at.
func TestFlagsAreAskedOnce(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	b := newBox(t)
	count, path := filepath.Join(b.root, "runs"), filepath.Join(b.releases, "v3.7.4", "etcd")
	must(t, os.Mkdir(filepath.Dir(path), 0o755))
	writeProgram(t, path, "echo $1 >> "+count+"\necho etcd Version: 3.7.4\necho \"  --data-dir ''\"\n")
	known := NewReleases(b.releases)
	must(t, known.Look(t.Context()))
	for range 3 {
		must(t, known.Look(t.Context()))
		wantInvalid(t, known.knows(t.Context(), "3.7.4", map[string]string{"cors": "*"}))
		must(t, known.knows(t.Context(), "3.7.4", map[string]string{"data-dir": "x"}))
	}
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "--version\n--help\n" {
		t.Fatalf("%q %v", runs, err)
	}
}

// Every flag that argv sets is in the real etcd's list: the list is whole.
func TestHelpOfTheRealEtcd(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	flags := NewReleases("").flagsOf(t.Context(), etcdBinary(t))
	if len(flags) < 100 || !slices.IsSorted(flags) {
		t.Fatalf("%d flags: %v", len(flags), flags)
	}
	for _, arg := range argv(b.founder(), testPaths("/log")) {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !slices.Contains(flags, name) {
			t.Errorf("no --%s", name)
		}
	}
	for _, name := range cluster.OwnedFlags() {
		if strings.HasPrefix(name, "discovery") && !slices.Contains(flags, name) {
			t.Errorf("no --%s", name)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"a-b", "ab", 1}, {"ab", "ba", 2}} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%s, %s: %d and %d, want %d", c.a, c.b, got, back, c.want)
		}
	}
}
