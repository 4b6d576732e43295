package plan

import (
	"testing"

	"cke/internal/cluster"
)

// TestBeside: what may begin while install-units goes on on n2, and while a
// learner is being added on n9.
func TestBeside(t *testing.T) {
	names := func(s ...cluster.NodeName) []cluster.NodeName { return s }
	units := []UnderWay{{Step{Kind: InstallUnits, Nodes: names("n1", "n2")}, names("n2")}}
	adding := []UnderWay{{Step{Kind: AddLearner, Nodes: names("n9")}, names("n9")}}
	for _, c := range []struct {
		name   string
		others []UnderWay
		step   Step
		want   []cluster.NodeName // nil: it may not begin
	}{
		{"alone", nil, Step{Kind: StartMembers, Nodes: names("n2")}, names("n2")},
		{"the same again, where it has been done", units, Step{Kind: InstallUnits, Nodes: names("n1", "n2")}, names("n1")},
		{"the same", units, Step{Kind: InstallUnits, Nodes: names("n2")}, nil},
		{"the same kind elsewhere", units, Step{Kind: InstallUnits, Nodes: names("n2", "n3"), Units: []cluster.Unit{{Node: "n2"}, {Node: "n3"}}}, names("n3")},
		{"another on the same node", units, Step{Kind: StartMembers, Nodes: names("n2")}, nil},
		{"on a node it has done with", units, Step{Kind: StartMembers, Nodes: names("n1")}, names("n1")},
		{"a founding is not cut down", units, Step{Kind: RecordBootstrap, Nodes: names("n1", "n2", "n3")}, nil},
		{"the member of a busy node stays", units, Step{Kind: RemoveMember, Nodes: names("n2"), Member: 2}, nil},
		{"leadership does not go to a busy node", units, Step{Kind: MoveLeader, Nodes: names("n1", "n2"), Member: 1, To: 2}, nil},
		{"the membership changes elsewhere", units, Step{Kind: RemoveMember, Nodes: names("n3"), Member: 3}, names("n3")},
		{"one change of the membership", adding, Step{Kind: RemoveMember, Nodes: names("n3"), Member: 3}, nil},
		{"care goes on beside it", adding, Step{Kind: StartMembers, Nodes: names("n3")}, names("n3")},
		{"users are changed once", []UnderWay{{Step{Kind: ConfigureAuth}, nil}}, Step{Kind: ConfigureAuth, Auth: []AuthChange{{Op: EnableAuth}}}, nil},
		{"a user is not forgotten while users are changed", []UnderWay{{Step{Kind: ConfigureAuth}, nil}}, Step{Kind: ForgetUser, User: &cluster.RemovedUser{}}, nil},
		{"a user is forgotten beside it", adding, Step{Kind: ForgetUser, User: &cluster.RemovedUser{}}, []cluster.NodeName{}},
		{"users are changed beside it", adding, Step{Kind: ConfigureAuth}, []cluster.NodeName{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Plan{Steps: []Step{c.step}}
			got := p.Beside(c.others)
			if len(p.Steps[0].Nodes) != len(c.step.Nodes) {
				t.Error("the plan itself was changed")
			}
			if c.want == nil {
				if len(got.Steps) != 0 {
					t.Fatalf("may begin: %v", got.Steps)
				}
				return
			}
			if len(got.Steps) != 1 || len(got.Steps[0].Nodes) != len(c.want) {
				t.Fatalf("want %v, got %v", c.want, got.Steps)
			}
			for i, n := range got.Steps[0].Nodes {
				if n != c.want[i] || len(c.step.Units) > 0 && got.Steps[0].Units[i].Node != n {
					t.Errorf("want %v, got %v with %v", c.want, got.Steps[0].Nodes, got.Steps[0].Units)
				}
			}
		})
	}
}
