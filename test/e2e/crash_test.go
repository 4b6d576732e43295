package e2e

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"cke/internal/execute"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestKilledAfterEveryEffect walks through bootstrap, add, remove, rebuild,
// repair, rolling changes, changes of etcd's version, replacements and the healing of
// full databases and corrupt members, and kills the daemon right after each effect in
// turn. The next daemon finishes the job: one cluster, founded once, with
// authentication on, exactly the wanted members and every tenant's data. Every kind of
// step there is must have been reached, or be one of those that only machines have.
func TestKilledAfterEveryEffect(t *testing.T) {
	t.Parallel()
	r := &reached{times: map[string]int{}}
	seed := drive.Seed(t)
	t.Run("walk", func(t *testing.T) {
		t.Run("bootstrap", func(t *testing.T) {
			t.Parallel()
			walkBootstrap(t, r, rand.New(rand.NewPCG(seed, 1)))
		})
		t.Run("changes", func(t *testing.T) {
			t.Parallel()
			walkChanges(t, r, rand.New(rand.NewPCG(seed, 2)))
		})
		t.Run("drains", func(t *testing.T) {
			t.Parallel()
			walkDrains(t, r, rand.New(rand.NewPCG(seed, 3)))
		})
		t.Run("rolling", func(t *testing.T) {
			t.Parallel()
			walkRolling(t, r, rand.New(rand.NewPCG(seed, 4)))
		})
		t.Run("space", func(t *testing.T) {
			t.Parallel()
			walkSpace(t, r, rand.New(rand.NewPCG(seed, 4)))
		})
		t.Run("versions", func(t *testing.T) {
			t.Parallel()
			walkVersions(t, r, rand.New(rand.NewPCG(seed, 5)))
		})
		t.Run("corrupt", func(t *testing.T) {
			t.Parallel()
			walkCorrupt(t, r)
		})
		t.Run("spares", func(t *testing.T) {
			t.Parallel()
			walkSpares(t, r)
		})
		t.Run("full disk", func(t *testing.T) {
			t.Parallel()
			walkFullDisk(t, r)
		})
	})
	if !t.Failed() { // else the walk is not complete
		r.report(t)
	}
}

// reached counts after what daemons were killed.
type reached struct {
	mu    sync.Mutex
	times map[string]int // by step kind and effect, such as "retire-member host.stop-unit"
}

func (r *reached) killedAfter(effect string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[effect]++
}

// report lists what was reached and fails when a step kind or an effect exists
// that no daemon was killed after.
func (r *reached) report(t *testing.T) {
	t.Helper()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	kinds, effects := map[string]bool{}, map[string]bool{}
	for _, line := range slices.Sorted(maps.Keys(r.times)) {
		kind, effect, _ := strings.Cut(line, " ")
		kinds[kind], effects[effect] = true, true
		fmt.Fprintf(w, "%s\t%s\t%d\n", kind, effect, r.times[line])
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("daemons were killed after these effects, so many times:\n%s", &table)
	elsewhere := drive.OnMachines()
	machineEffects := map[string]bool{}
	for _, k := range constants(t, "plan", "Kind") {
		machine, ok := elsewhere[plan.Kind(k)]
		if kinds[k] == ok && !(plan.Step{Kind: plan.Kind(k)}).Looks() {
			t.Errorf("a daemon was killed in a step of kind %s: %v; reached on machines only: %v", k, kinds[k], ok)
		}
		for _, e := range machine {
			machineEffects[string(e)] = true
		}
	}
	for _, e := range constants(t, "execute", "Effect") {
		if effects[e] == machineEffects[e] {
			t.Errorf("a daemon was killed after the effect %s: %v; reached on machines only: %v", e, effects[e], machineEffects[e])
		}
		if !slices.Contains(execute.Effects(), execute.Effect(e)) {
			t.Errorf("execute.Effects lacks %s", e)
		}
	}
}

// constants are the values of all constants of a string type, read from its
// package's source: a new one cannot be left out.
func constants(t *testing.T, pkg, typ string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../internal", pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, f := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != typ {
				return true
			}
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok {
					values = append(values, strings.Trim(lit.Value, `"`))
				}
			}
			return true
		})
	}
	if len(values) == 0 {
		t.Fatalf("no constants of type %s in internal/%s", typ, pkg)
	}
	return values
}

// walk goes through the effects of one scenario: a daemon is killed after the
// first, another after the second, until one gets by.
type walk struct {
	reached *reached
	n       int  // the last number that was tried in turn
	through bool // a daemon got by
	extra   int
	seen    map[string]int  // each effect's number when it was last seen
	killed  map[string]bool // the effects a daemon was killed after
	// aim is the effect the next daemon is to be killed after, wherever it comes; empty:
	// that of the number.
	aim string
}

func newWalk(r *reached) *walk {
	return &walk{reached: r, seen: map[string]int{}, killed: map[string]bool{}}
}

// next is the number of the effect to be killed after, or 0 at the end. What is
// done in parallel, or only when a process is slow to end, does not always come
// under the same number: an effect that was seen and missed is tried again, by name.
func (w *walk) next() int {
	w.aim = ""
	if !w.through {
		w.n++
		return w.n
	}
	missed := slices.SortedFunc(maps.Keys(w.seen), func(a, b string) int { return cmp.Compare(w.seen[a], w.seen[b]) })
	missed = slices.DeleteFunc(missed, func(e string) bool { return w.killed[e] })
	if len(missed) == 0 || w.extra == maxExtra {
		return 0
	}
	w.extra++
	w.aim = missed[0]
	return w.seen[w.aim]
}

// maxExtra bounds how often missed effects are tried again.
const maxExtra = 6

// note takes the effects of a daemon that was to be killed after the n-th.
func (w *walk) note(effects []string, killed bool) {
	for i, e := range effects {
		w.seen[e] = i + 1
	}
	if !killed {
		w.through = true
	}
}

// count is how many effects the scenario has, about.
func (w *walk) count() int { return max(1, w.n-1) }

// double draws two kills: the second among the effects the first leaves.
func (w *walk) double(rnd *rand.Rand) []int {
	first := 1 + rnd.IntN(max(1, w.count()-1))
	return []int{first, 1 + rnd.IntN(max(1, w.count()-first))}
}
