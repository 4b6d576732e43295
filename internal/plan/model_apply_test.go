package plan

import (
	"errors"
	"fmt"
	"slices"

	"cke/internal/cluster"
)

// hand carries steps out as the executor does: is it done already, does the
// guard still hold, then effect by effect. It may be killed before any effect.
type hand struct {
	s *sim
	// left is how many effects it lives for; negative: all.
	left int
	// first is which of a step's nodes is worked on first, as they go in parallel.
	first int
	// stopped is what happens while a member is being stopped for its removal; nil: nothing.
	stopped func()
	// interrupts: a person asked for what no voter can be spared for.
	interrupts bool
}

var (
	errKilled   = errors.New("CKE is killed")
	errNoLeader = errors.New("the leader does not answer CKE")
	errNoQuorum = errors.New("no quorum")
)

// does is one effect. Only the environment may cost the cluster its quorum.
func (h *hand) does(what string, effect func() error) error {
	if h.left == 0 {
		return errKilled
	}
	h.left--
	served := h.s.serves()
	err := effect()
	h.s.logf("  %s: %v", what, orOK(err))
	h.s.settle()
	if served && !h.s.serves() && !h.interrupts {
		h.s.t.Fatalf("%s costs the cluster its quorum", what)
	}
	h.s.inspect()
	return err
}

func orOK(err error) any {
	if err == nil {
		return "done"
	}
	return err
}

func (h *hand) apply(step Step) error {
	done, err := h.done(step)
	if err != nil || done {
		return err
	}
	if err := h.do(step); err != nil {
		return err
	}
	if !h.s.quiet {
		h.s.done[step.Kind]++
	}
	return nil
}

func (h *hand) do(step Step) error {
	if step.ChangesMembership() || step.Kind == RetireMember || step.Kind == RollBackMember || step.Kind == Compact || step.Kind == DisarmAlarm {
		if err := Guard(step, h.s.observeEtcd(nil)); err != nil {
			return err
		}
	}
	switch step.Kind {
	case CheckHosts:
		for _, name := range step.Nodes {
			h.s.measure(h.s.hosts[name])
		}
		return nil
	case RecordBootstrap:
		return h.does("record the bootstrap", func() error { return h.s.recordBootstrap(step) })
	case FinishBootstrap:
		return h.finishBootstrap(step)
	case InstallEtcd, InstallCertificates, InstallUnits, StartMembers, RetireMember, InstallClientCertificates, PutGateway, RemoveGateway:
		return h.eachNode(step)
	case RestartMember, RollBackMember:
		return h.restart(step)
	case StopMember:
		return h.stopDrained(step)
	case DrainNode, UndrainNode, RebootMachine, FinishReboot:
		return h.rebootStep(step)
	case FinishDrain:
		return h.does("drop the record of a drain", func() error { h.s.dropDrain(*step.Drain); return nil })
	case FinishRestart:
		return h.does("drop the record of a restart", func() error { h.s.dropRestart(*step.Restart); return nil })
	case TakeSnapshot:
		return h.does("take a snapshot", func() error { h.s.takeSnapshot(*step.Snapshot); return nil })
	case ConfigureAuth:
		return h.configureAuth(step)
	case ForgetNode:
		if err := h.eachNode(step); err != nil {
			return err
		}
		return h.does("forget "+string(step.Nodes[0]), func() error { h.s.forget(step.Nodes[0]); return nil })
	case ForgetUser:
		return h.does("forget user "+step.User.Name, func() error {
			if slices.Contains(h.s.store.removed, *step.User) {
				h.s.forgetUser(step.User.Name)
			}
			return nil
		})
	case Compact, Defragment, DisarmAlarm, ForgetDefrag:
		return h.makeRoom(step)
	default:
		return h.changeMembership(step)
	}
}

// done mirrors each action's Done.
func (h *hand) done(step Step) (bool, error) {
	s := h.s
	switch step.Kind {
	case TakeSnapshot:
		return false, nil
	case CheckHosts:
		return false, nil // it is asked for only when too little is known
	case RecordBootstrap:
		return s.store.boot.Phase != cluster.PhaseNew, nil
	case FinishBootstrap:
		return s.store.boot.Phase == cluster.PhaseBootstrapped, nil
	case ForgetNode:
		return !slices.ContainsFunc(s.store.leaving, func(n cluster.Node) bool { return n.Hostname == step.Nodes[0] }), nil
	case ForgetUser:
		return !slices.Contains(s.store.removed, *step.User), nil
	case RestartMember, RollBackMember, FinishRestart:
		return s.restartDone(step)
	case StopMember, FinishDrain:
		return s.drainDone(step)
	case DrainNode, UndrainNode, RebootMachine, FinishReboot:
		return s.rebootDone(step)
	case InstallEtcd, InstallCertificates, InstallUnits, StartMembers, RetireMember, InstallClientCertificates, PutGateway, RemoveGateway:
		for _, name := range step.Nodes {
			ns := s.facts(s.hosts[name])
			if !ns.Reachable() {
				return false, errAway
			}
			if !nodeDone(step, name, ns) {
				return false, nil
			}
		}
		return true, nil
	}
	e := s.observeEtcd(nil)
	if !e.Quorum {
		return false, errNoQuorum
	}
	m, found := e.Member(step.Member)
	switch step.Kind {
	case ConfigureAuth:
		return !slices.ContainsFunc(step.Auth, func(c AuthChange) bool { return !authApplied(c, e.Auth) }), nil
	case Compact, Defragment, DisarmAlarm, ForgetDefrag:
		return s.spaceDone(step, e), nil
	case AddLearner:
		_, found = e.MemberAt(s.hosts[step.Nodes[0]].node)
		return found, nil
	case PromoteLearner:
		return found && !m.Learner, nil
	case EnableDowngrade:
		return e.Downgrade != "" && cluster.MinorOf(e.Downgrade) == cluster.MinorOf(step.Version), nil
	case CancelDowngrade:
		return e.Downgrade == "", nil
	case MoveLeader:
		return !found || !m.Leader, nil
	default:
		return !found, nil
	}
}

func nodeDone(step Step, name cluster.NodeName, ns cluster.NodeState) bool {
	switch step.Kind {
	case InstallEtcd:
		return hasVersion(ns, step.Version)
	case InstallCertificates:
		return len(ns.Certificates) == 0
	case InstallClientCertificates:
		return len(ns.APIServer) == 0
	case PutGateway:
		return GatewayRight(ns.Gateway, *step.Gateway)
	case RemoveGateway:
		return ns.Gateway == nil
	case InstallUnits:
		return ns.Unit != nil && ns.Unit.Unit.Equal(unitFor(step, name)) && !ns.Unit.Unfinished
	case StartMembers:
		return ns.Unit != nil && ns.Unit.Running && ns.Unit.Sealed
	default:
		_, data := ns.Dir(step.Member)
		return !data && (ns.Unit == nil || ns.Unit.Unit.Member != step.Member)
	}
}

func unitFor(step Step, name cluster.NodeName) cluster.Unit {
	for _, u := range step.Units {
		if u.Node == name {
			return u
		}
	}
	return cluster.Unit{}
}

// eachNode works on all nodes; one node's failure does not cut the others short.
func (h *hand) eachNode(step Step) error {
	var errs []error
	for i := range step.Nodes {
		name := step.Nodes[(i+h.first)%len(step.Nodes)]
		err := h.onNode(step, h.s.hosts[name])
		if errors.Is(err, errKilled) {
			return err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (h *hand) onNode(step Step, b *box) error {
	switch step.Kind {
	case InstallEtcd:
		return h.putRelease(b)
	case InstallCertificates:
		return h.putFiles(b)
	case InstallUnits:
		return h.installUnit(b, copyUnit(unitFor(step, b.node.Hostname)))
	case ForgetNode:
		return h.clean(b)
	case InstallClientCertificates, PutGateway, RemoveGateway:
		return h.serveTenants(step, b)
	}
	ns := h.s.facts(b)
	if !ns.Reachable() {
		return errAway
	}
	if step.Kind == StartMembers {
		if ns.Unit == nil || ns.Unit.Running && ns.Unit.Sealed {
			return nil
		}
		return h.startUnit(b)
	}
	if ns.Unit != nil && ns.Unit.Running && ns.Unit.Unit.Member == step.Member {
		if err := h.stopUnit(b); err != nil {
			return err
		}
	}
	return h.retireUnit(b, step.Member)
}

func leader(e cluster.EtcdState) (cluster.Member, bool) {
	for _, m := range e.Members {
		if m.Leader && m.Healthy {
			return m, true
		}
	}
	return cluster.Member{}, false
}

// viaLeader: mutations of etcd go to the leader, found by a fresh look.
func (h *hand) viaLeader() (cluster.EtcdState, error) {
	e := h.s.observeEtcd(nil)
	if l, ok := leader(e); ok {
		for _, n := range h.s.nodes() {
			if n.PeerURL() == l.PeerURL {
				return e, nil
			}
		}
	}
	return e, errNoLeader
}

func (h *hand) configureAuth(step Step) error {
	e, err := h.viaLeader()
	if err != nil {
		return err
	}
	for _, c := range step.Auth {
		if authApplied(c, e.Auth) {
			continue
		}
		if err := h.does(c.String(), func() error { return h.s.changeAuth(c) }); err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) changeMembership(step Step) error {
	if step.StopFirst {
		if err := h.stopFirst(&step); err != nil {
			return err
		}
	}
	if _, err := h.viaLeader(); err != nil {
		return err
	}
	s := h.s
	return h.does(step.Key(), func() error {
		if why := s.rash(step); why != "" {
			s.t.Fatalf("%s, though %s", step.Key(), why)
		}
		switch step.Kind {
		case AddLearner:
			return s.addLearner(s.hosts[step.Nodes[0]].node.PeerURL())
		case PromoteLearner:
			return s.promote(step.Member)
		case MoveLeader:
			return s.moveLeader(step.To)
		case EnableDowngrade:
			return s.enableDowngrade(cluster.MinorOf(step.Version))
		case CancelDowngrade:
			s.raft.downgrade = cluster.Minor{}
			return nil
		default:
			return s.remove(step.Member)
		}
	})
}

func (h *hand) finishBootstrap(step Step) error {
	e := h.s.observeEtcd(nil)
	if !e.Quorum || !e.Auth.Enabled || e.ClusterID != step.Bootstrap.ClusterID {
		return fmt.Errorf("guard %s: quorum %v, auth %v", step.Kind, e.Quorum, e.Auth.Enabled)
	}
	return h.does("record that the cluster stands", func() error {
		h.s.store.boot = *step.Bootstrap
		return nil
	})
}
