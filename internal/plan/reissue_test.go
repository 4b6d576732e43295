package plan

import (
	"slices"
	"testing"

	"cke/internal/cluster"
)

// TestTurnsGoRound: a node whose host refuses its new files keeps nobody else
// from them for longer than its turn.
func TestTurnsGoRound(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "node cp1 10.0.0.1\nnode cp2 10.0.0.2\nnode cp3 10.0.0.3\nphase bootstrapped\nhealthy cp1 cp2 cp3\n"+
		"host cp1 certs due\nhost cp2 certs due\nhost cp3 certs due")
	var had []cluster.NodeName
	for range 3 {
		p := Decide(w.spec, w.st, w.now)
		if len(p.Steps) != 1 || len(p.Steps[0].Nodes) != 1 || len(p.Reasons) != 2 {
			t.Fatalf("%s", p)
		}
		if again := Decide(w.spec, w.st, w.now.Truncate(turn)); again.Steps[0].Key() != p.Steps[0].Key() {
			t.Errorf("within a turn first %s, then %s", again.Steps[0], p.Steps[0])
		}
		had = append(had, p.Steps[0].Nodes[0])
		w.now = w.now.Add(turn)
	}
	if slices.Sort(had); !slices.Equal(had, []cluster.NodeName{"cp1", "cp2", "cp3"}) {
		t.Errorf("had their turn: %v", had)
	}
}

// TestFailingHoldsUpNobody: a node whose host refuses the files it lacks keeps
// those whose files still work from new ones no longer than a turn, and they are
// replaced one after another all the same.
func TestFailingHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "node cp1 10.0.0.1\nnode cp2 10.0.0.2\nnode cp3 10.0.0.3\nphase bootstrapped\nhealthy cp1 cp2 cp3\n"+
		"host cp1 certs\nhost cp2 certs due\nhost cp3 certs due")
	had := map[cluster.NodeName]bool{}
	for range 4 {
		for i, s := range Decide(w.spec, w.st, w.now).Steps {
			if len(s.Nodes) != 1 || i == 0 != (s.Nodes[0] == "cp1") || i > 1 {
				t.Fatalf("step %d is %s", i, s)
			}
			had[s.Nodes[0]] = true
		}
		w.now = w.now.Add(turn)
	}
	if len(had) != 3 {
		t.Errorf("had their turn: %v", had)
	}
}
