package plan

import (
	"slices"

	"cke/internal/cluster"
)

// UnderWay is a step being carried out and the nodes it is still busy with.
type UnderWay struct {
	Step Step
	Busy []cluster.NodeName
}

// Beside is what of a plan may begin while other steps, which were under way
// already when its State was observed, go on: nothing twice, nothing on a node
// that is being worked on, for what was seen of it may be half of a change, no
// second change of the membership, and no user forgotten while users are changed:
// what is under way may be about to make the one that was removed since.
func (p Plan) Beside(others []UnderWay) Plan {
	if len(others) == 0 {
		return p
	}
	busy, same, changing, auth := map[cluster.NodeName]bool{}, map[string]bool{}, false, false
	for _, o := range others {
		same[o.Step.Key()] = true
		changing = changing || o.Step.ChangesMembership()
		auth = auth || o.Step.Kind == ConfigureAuth
		for _, n := range o.Busy {
			busy[n] = true
		}
	}
	steps := p.Steps
	p.Steps = nil
	for _, s := range steps {
		// What a step that treats each node by itself is asked to do again on a node
		// it has done with, was asked since.
		if same[s.Key()] && !s.nodewise() || changing && s.ChangesMembership() || auth && s.Kind == ForgetUser {
			continue
		}
		if s, ok := s.without(busy); ok {
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

// without leaves nodes out of a step that treats each by itself; any other step
// is taken whole or, false, not at all.
func (s Step) without(busy map[cluster.NodeName]bool) (Step, bool) {
	isBusy := func(n cluster.NodeName) bool { return busy[n] }
	if !slices.ContainsFunc(s.Nodes, isBusy) {
		return s, true
	}
	if !s.nodewise() {
		return s, false
	}
	s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), isBusy)
	s.Units = slices.DeleteFunc(slices.Clone(s.Units), func(u cluster.Unit) bool { return isBusy(u.Node) })
	return s, len(s.Nodes) > 0
}

// nodewise says whether a step treats each of its nodes by itself.
func (s Step) nodewise() bool {
	switch s.Kind {
	case CheckHosts, InstallEtcd, InstallCertificates, InstallUnits, StartMembers, InstallClientCertificates, PutGateway, RemoveGateway:
		return true
	default:
		return false
	}
}
