package schedule

import (
	"os"
	"regexp"
	"slices"
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
		for _, r := range rounds(seed, Pass()) {
			faults = append(faults, r.Fault)
			ops[r.Operation] = true
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

// TestEveryFaultOfTheLabIsScheduled compares with the table in the lab's page.
func TestEveryFaultOfTheLabIsScheduled(t *testing.T) {
	page, err := os.ReadFile("../../../docs/LAB.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\|").FindAllSubmatch(page, -1)
	if len(names) < 15 {
		t.Fatalf("only %d faults are found in the page", len(names))
	}
	for _, n := range names {
		name := string(n[1])
		if !slices.ContainsFunc(Faults(), func(f Fault) bool {
			return f == Fault(name) || regexp.MustCompile("^"+name+" ").MatchString(string(f))
		}) {
			t.Errorf("%s is never scheduled", name)
		}
	}
}
