package plan

import (
	"slices"
	"time"

	"cke/internal/cluster"
)

// Decide says what should be done now for one cluster. It is pure: the same
// spec, state and instant give the same plan. The rules run in order; each may
// name steps, reasons, or both, and the first that finds the ground unsafe ends
// the list. At most one step of a plan changes who votes or leads.
func Decide(spec cluster.Spec, st cluster.State, now time.Time) Plan {
	in := newInput(spec, st, now)
	p, outgoing := in.follow()
	if outgoing == in.outgoing {
		return p // nobody goes: knowing it changes nothing
	}
	in.outgoing = outgoing
	p, _ = in.follow()
	return p
}

// prepared has the rules know who is about to go. Who that is they say
// themselves, in whatever order they come; preparing for it changes nothing of it.
func (in input) prepared() input {
	_, in.outgoing = in.follow()
	return in
}

// follow goes through the rules. It says also which serving voter the plan is
// about to take out, if any: now, or once nobody is sent to it any more. One that a
// step under way takes out is that one, whatever has come to be wanted since.
func (in input) follow() (Plan, leaver) {
	p := Plan{Cluster: in.spec.Name}
	outgoing := in.onItsWay()
	changing, held := false, false
	for _, r := range rules() {
		v := r(in)
		for _, s := range v.steps {
			if s.ChangesMembership() {
				if changing {
					continue
				}
				changing = true
			}
			if s.Kind == InstallEtcd {
				p.Steps = mergeInstalls(p.Steps, s)
				continue
			}
			p.Steps = append(p.Steps, s)
		}
		// Nobody else is added or taken out while one is on its way out, and nobody is
		// on its way out who has to wait.
		if v.outgoing != 0 && !held {
			if changing = true; outgoing.member == 0 {
				outgoing = leaver{v.outgoing, v.stops}
			}
		}
		held, changing = held || v.hold, changing || v.hold
		p.Reasons = append(p.Reasons, v.reasons...)
		if v.stop {
			break
		}
	}
	p.Steps = withoutRevivals(p.Steps)
	return p, outgoing
}

// withoutRevivals starts no member that is taken out because it does not serve: a
// start that hangs would keep its node busy, and the removal from ever being
// begun.
func withoutRevivals(steps []Step) []Step {
	dying := map[cluster.NodeName]bool{}
	for _, s := range steps {
		if s.Kind == RemoveMember && s.NotServing {
			dying[s.Nodes[0]] = true
		}
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return s.Kind == StartMembers && len(s.Nodes) == 1 && dying[s.Nodes[0]] })
}

// verdict is what one rule has to say.
type verdict struct {
	steps   []Step
	reasons []Reason
	stop    bool // what follows would act on unsafe ground
	// outgoing is a serving voter that is taken out, now or soon.
	outgoing cluster.MemberID
	// stops: it is stopped, whatever becomes of it then.
	stops bool
	// hold: nothing that follows may change who votes or leads.
	hold bool
}

// and adds what another rule has to say after it.
func (v verdict) and(w verdict) verdict {
	v.steps, v.reasons = append(v.steps, w.steps...), append(v.reasons, w.reasons...)
	v.stop, v.hold = v.stop || w.stop, v.hold || w.hold
	if v.outgoing == 0 {
		v.outgoing, v.stops = w.outgoing, w.stops
	}
	return v
}

type rule func(input) verdict

// rules is the order of care: first what makes acting unsafe, then what keeps
// members running, then who may use them, last who they are.
func rules() []rule {
	return []rule{
		rulePaused,
		ruleDeposed,
		ruleBootstrap,
		ruleIdentity,
		ruleHosts,
		ruleFull,
		ruleCertificates,
		ruleAPIServer,
		ruleGateway,
		ruleUnits,
		ruleRestarted,
		ruleDrain,
		ruleReboot,
		ruleStart,
		ruleQuorum,
		ruleAuth,
		ruleRetire,
		ruleLearners,
		ruleLostData,
		ruleCorrupt,
		ruleReplace,
		ruleNoSpace,
		ruleMembership,
		ruleVersion,
		ruleRolling,
		ruleDefragment,
		ruleQuota,
		ruleLeaving,
	}
}

// ChangesMembership says whether the step changes who votes, learns, leads or for
// a while answers; such steps are taken one at a time.
func (s Step) ChangesMembership() bool {
	switch s.Kind {
	case AddLearner, PromoteLearner, MoveLeader, RemoveMember, RestartMember, EnableDowngrade, CancelDowngrade, Defragment, StopMember:
		return true
	default:
		return false
	}
}

// Looks says whether the step only looks, and changes nothing anywhere.
func (s Step) Looks() bool { return s.Kind == CheckHosts }

// NextBatch takes, of steps that may run now, those that leave the membership
// alone all together, for none depends on another; else the one that changes it,
// alone. A member whose unit is installed is started after that, for else it may run with
// another than it has; where the installation keeps failing, it is not runnable for a while.
func NextBatch(runnable []Step) []Step {
	var batch []Step
	installing := map[cluster.NodeName]bool{}
	for _, s := range runnable {
		for _, n := range s.Nodes {
			installing[n] = installing[n] || s.Kind == InstallUnits
		}
	}
	for _, s := range runnable {
		may := s.Kind != StartMembers
		if !may {
			s, may = s.without(installing)
		}
		if may && !s.ChangesMembership() {
			batch = append(batch, s)
		}
	}
	if len(batch) == 0 {
		return runnable[:min(1, len(runnable))]
	}
	return batch
}

// input is what the rules read, with the lookups they share.
type input struct {
	// spec is what is worked with: settings with which a member did not come back
	// give way to the last that worked. asked is what the spec itself says.
	spec     cluster.Spec
	asked    cluster.Etcd
	st       cluster.State
	now      time.Time
	wanted   []cluster.Node // nodes that should carry a voter
	nodes    []cluster.Node // spec's nodes, then the leaving ones
	outgoing leaver
}

// leaver is the serving voter that is about to be taken out, or only restarted; or
// none.
type leaver struct {
	member cluster.MemberID
	stops  bool
}

func newInput(spec cluster.Spec, st cluster.State, now time.Time) input {
	in := input{spec: spec, asked: spec.Etcd, st: st, now: now}
	if in.settingsFailed() {
		in.spec.Etcd = spec.Etcd.WithSettings(st.Restart.From)
	}
	in.nodes = append(append([]cluster.Node(nil), spec.Nodes...), st.Leaving...)
	in.wanted = in.wantedNodes()
	return in
}

// node is what its host told. One that was not asked is not taken for bare.
func (in input) node(name cluster.NodeName) cluster.NodeState {
	ns, ok := in.st.Nodes[name]
	if !ok {
		ns.Err = "the node is neither in the spec nor leaving"
	}
	return ns
}

// nodeOf finds the node a member lives on by its peer URL.
func (in input) nodeOf(m cluster.Member) (cluster.Node, bool) {
	for _, n := range in.nodes {
		if n.PeerURL() == m.PeerURL {
			return n, true
		}
	}
	return cluster.Node{}, false
}

func (in input) isWanted(n cluster.Node) bool {
	for _, w := range in.wanted {
		if w.Hostname == n.Hostname {
			return true
		}
	}
	return false
}

// name is how a member is called towards people.
func (in input) name(m cluster.Member) cluster.NodeName {
	if n, ok := in.nodeOf(m); ok {
		return n.Hostname
	}
	return cluster.NodeName(m.PeerURL)
}

// dataLost says that a reachable host proves its member's data gone.
func (in input) dataLost(m cluster.Member) bool {
	n, ok := in.nodeOf(m)
	return ok && m.Started() && DataLost(in.node(n.Hostname), m.ID)
}

// saidGone says that its host says so, whomever it obeys, or did when it last said anything.
func (in input) saidGone(m cluster.Member) bool {
	n, ok := in.nodeOf(m)
	ns, h := in.node(n.Hostname), in.st.Heard[n.Hostname]
	return ok && m.Started() && (saidGone(ns, m.ID) || !ns.Reachable() && h.Member == m.ID && h.Lost)
}

// DataLost says that a host proves the data of a member that has started gone.
func DataLost(ns cluster.NodeState, id cluster.MemberID) bool {
	return usable(ns) && saidGone(ns, id)
}

// saidGone: so says its host, whomever it obeys.
func saidGone(ns cluster.NodeState, id cluster.MemberID) bool {
	if !ns.Reachable() {
		return false
	}
	if u := ns.Unit; u != nil && u.Unit.Member == id {
		switch {
		case u.NotMounted != "":
			return false
		case u.Sealed:
			return u.DataLost
		default: // killed before it was sealed: its log is its own, if there is one
			return !holdsLog(ns, id)
		}
	}
	d, ok := ns.Dir(id)
	return !ok || !d.WAL || !d.Mark
}

// holdsLog: the directory holds the member's WAL. On a host that has not sealed
// the member yet that is enough to start it.
func holdsLog(ns cluster.NodeState, id cluster.MemberID) bool {
	d, ok := ns.Dir(id)
	return ok && d.WAL
}
