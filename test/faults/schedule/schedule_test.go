package schedule

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rounds(seed uint64, n int) []Round {
	s := New(seed, 5, 3)
	var all []Round
	for range n {
		all = append(all, s.Next())
	}
	return all
}

func TestASeedRepeatsItsRounds(t *testing.T) {
	for seed := range uint64(20) {
		if d := cmp.Diff(rounds(seed, 100), rounds(seed, 100)); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
		if cmp.Equal(rounds(seed, 10), rounds(seed+1, 10)) {
			t.Errorf("seeds %d and %d give the same", seed, seed+1)
		}
	}
}

func TestEveryKindComesUpInOnePass(t *testing.T) {
	for seed := range uint64(50) {
		var faults []Fault
		ops := map[Operation]bool{}
		daemons := map[Daemons]bool{}
		for _, r := range rounds(seed, Pass()) {
			faults = append(faults, r.Fault)
			ops[r.Operation] = true
			daemons[r.Daemons] = true
		}
		for _, f := range Faults() {
			if !slices.Contains(faults, f) && f != Dead { // which takes a spare
				t.Errorf("seed %d: no %s", seed, f)
			}
		}
		for _, o := range Operations() {
			if !ops[o] && o != Add && o != Remove && o != Replace { // one may stand for another
				t.Errorf("seed %d: no %q", seed, o)
			}
		}
		for _, d := range AllDaemons() {
			if !daemons[d] {
				t.Errorf("seed %d: no %s", seed, d)
			}
		}
	}
}

// TestRoundsCanBeCarriedOut: victims are nodes, operations do what they say.
func TestRoundsCanBeCarriedOut(t *testing.T) {
	for seed := range uint64(50) {
		before := []int{1, 2, 3}
		seen := map[Operation]bool{}
		for _, r := range rounds(seed, 200) {
			after := r.Spec.Nodes
			if !slices.Contains(before, r.Victim) || !slices.Contains(before, r.Other) || r.Other == r.Victim {
				t.Fatalf("seed %d: %s: the nodes are %v", seed, r, before)
			}
			gained, lost := without(after, before), without(before, after)
			want := map[Operation][2]int{Add: {1, 0}, Remove: {0, 1}, Replace: {1, 1}}[r.Operation]
			if r.Fault == Dead {
				want = [2]int{1, 1}
				if lost[0] != r.Victim || gained[0] != r.Spare {
					t.Fatalf("seed %d: %s: from %v to %v", seed, r, before, after)
				}
			}
			if len(gained) != want[0] || len(lost) != want[1] || len(after) < 3 || len(after) > 5 || !slices.IsSorted(after) {
				t.Fatalf("seed %d: %s: from %v to %v", seed, r, before, after)
			}
			seen[r.Operation] = true
			before = after
		}
		if len(seen) != len(Operations()) {
			t.Errorf("seed %d: in 200 rounds only %v", seed, seen)
		}
	}
}

func without(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(i int) bool { return slices.Contains(b, i) })
}

// TestEveryFaultOfTheLabIsScheduled compares with what the lab can do, and its page
// with that.
func TestEveryFaultOfTheLabIsScheduled(t *testing.T) {
	page, err := os.ReadFile("../../../docs/LAB.md")
	if err != nil {
		t.Fatal(err)
	}
	inPage := map[string]bool{}
	for _, n := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\|").FindAllSubmatch(page, -1) {
		inPage[string(n[1])] = true
	}
	faults, changes := ofTheLab(t)
	if len(faults) < 15 || len(changes) < 5 {
		t.Fatalf("the lab has only the faults %v and the changes %v", faults, changes)
	}
	for _, name := range faults {
		if !slices.ContainsFunc(Faults(), func(f Fault) bool { return f == Fault(name) || strings.HasPrefix(string(f), name+" ") }) {
			t.Errorf("%s is never scheduled", name)
		}
		if !inPage[name] {
			t.Errorf("docs/LAB.md does not have %s", name)
		}
		delete(inPage, name)
	}
	for name := range inPage {
		t.Errorf("docs/LAB.md has %s, and the lab has not", name)
	}
	as := changesOfMachines()
	for _, name := range changes {
		if as[name] == "" {
			t.Errorf("a machine can be changed by %s, and nobody says in which fault that is", name)
		}
		delete(as, name)
	}
	for name := range as {
		t.Errorf("no machine has %s", name)
	}
}

// changesOfMachines are the faults in which each of them comes up, besides those of
// the same name, or why in none.
func changesOfMachines() map[string]string {
	const person = "a person does it, and has to tell CKE or to take it back: test/lab/hosts has it"
	return map[string]string{
		"On": string(PowerOff), "Off": string(PowerOff), "PowerCut": string(PowerCut), "Reboot": string(Reboot), "Signal": string(KillEtcd),
		"ReplaceDataDisk": string(NewDisk), "DetachDataDisk": string(NoDisk), "AttachDataDisk": string(NoDisk), "EditDataDisk": string(Corrupt),
		"NewHostKey": person, "LimitKey": person, "ForceCommand": person,
		"WriteFile": "it breaks nothing by itself",
	}
}

// ofTheLab are the functions that make a fault, and the methods of machines that
// return nothing but an error: those that change them.
func ofTheLab(t *testing.T) (faults, changes []string) {
	t.Helper()
	files, err := filepath.Glob("../../lab/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			result, ok := f.Type.Results.List[0].Type.(*ast.Ident)
			switch {
			case !ok:
			case f.Recv == nil && result.Name == "Fault":
				faults = append(faults, f.Name.Name)
			case f.Recv != nil && result.Name == "error" && isMachine(f.Recv.List[0].Type):
				changes = append(changes, f.Name.Name)
			}
		}
	}
	return faults, changes
}

func isMachine(receiver ast.Expr) bool {
	star, ok := receiver.(*ast.StarExpr)
	if !ok {
		return false
	}
	name, ok := star.X.(*ast.Ident)
	return ok && name.Name == "Machine"
}
