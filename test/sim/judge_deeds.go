package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// How a daemon goes about its steps: each effect is one of a step on record, rests
// on what that step has seen itself, and on nothing that was seen of a node while
// something was being done there.

// judgeBegin: whatever was under way on a node when a look began, nothing else is
// begun there by what that look saw.
func (w *World) judgeBegin(c *CKE, s plan.Step) {
	for _, key := range slices.Sorted(maps.Keys(c.deeds.steps)) {
		o := c.deeds.steps[key]
		if o.look.Equal(c.deeds.looked) || nodewise(o.step.Kind) || !(o.open || o.ended.After(c.deeds.looked)) {
			continue
		}
		if slices.ContainsFunc(s.Nodes, func(n cluster.NodeName) bool { return slices.Contains(o.step.Nodes, n) }) {
			w.violate("whatIsSeenDuringAStepIsNotActedOn", "%s is begun by a look from before the end of %s", s.Key(), key)
		}
	}
}

// nodewise steps are over on one node before they are on another.
func nodewise(k plan.Kind) bool {
	switch k {
	case plan.CheckHosts, plan.InstallEtcd, plan.InstallCertificates, plan.InstallUnits, plan.StartMembers, plan.InstallClientCertificates, plan.PutGateway, plan.RemoveGateway:
		return true
	default:
		return false
	}
}

const (
	// failuresMost is how often a step may fail in a minute: what etcd asks to wait
	// for is tried each second, all else seldom.
	failuresMost = 75
	// unfoldedMost is how many records in a row may say the same failure of one step:
	// a cke that begins anew begins a new one.
	unfoldedMost = 6
)

// judgeFailure is of the pace of a step that fails, and of what is written of it.
func (w *World) judgeFailure(d *deed, r record.Record) {
	now := time.Now()
	d.failures = append(slices.DeleteFunc(d.failures, func(t time.Time) bool { return now.Sub(t) > time.Minute }), now)
	if len(d.failures) == failuresMost {
		w.violate("whatFailsBacksOff", "%s failed %d times within a minute: %s", r.What(), failuresMost, r.Error)
	}
	switch {
	case r.Repeats > 0:
	case d.err == r.Error:
		if d.unfolded++; d.unfolded == unfoldedMost {
			w.violate("historyIsNotFlooded", "%d records in a row say of %s: %s", unfoldedMost, r.What(), r.Error)
		}
	default:
		d.unfolded = 0
	}
	d.err = r.Error
}

// onRecord is the step under way that asks for an effect: of several that do one whose
// attempt is open, or else the one that was tried last.
func (c *CKE) onRecord(asks func(plan.Step) bool) (found *deed) {
	for _, key := range slices.Sorted(maps.Keys(c.deeds.steps)) {
		d := c.deeds.steps[key]
		if !d.open && d.failed == 0 || !asks(d.step) {
			continue
		}
		if found == nil || d.open && !found.open || d.open == found.open && d.since.After(found.since) {
			found = d
		}
	}
	return found
}

// judgeStep holds that an effect belongs to a step on record, and that what the
// step saw itself right before allows it. What the step says of its subject is sure
// at its first attempt only: the record stays what it was when it is tried again.
func (w *World) judgeStep(ctx context.Context, c *CKE, what string, asks func(plan.Step) bool, forbids func(e cluster.EtcdState, s plan.Step, sure bool) string) *deed {
	d := c.onRecord(asks)
	if d == nil {
		w.violate("everyChangeIsOnRecord", "%s is asked of etcd, and no step under way says so", what)
		return nil
	}
	end, _ := ctx.Deadline()
	sight, looked := c.deeds.saw[end]
	saw := sight.state
	if !looked {
		w.violate("whatItSeesItselfAllowsIt", "%s, and the step has not looked at the members", what)
		return d
	}
	why := forbids(saw, d.step, d.failed == 0)
	if !saw.Quorum {
		why = "there was no quorum"
	}
	if why != "" {
		w.violate("whatItSeesItselfAllowsIt", "%s, and right before the step saw that %s", what, why)
	}
	return d
}

// askedAgain: before what cannot be taken back, a host is asked since it was decided.
func (w *World) askedAgain(c *CKE, d *deed, m *machine, what string) {
	if m != nil && d != nil && !c.deeds.toldBetween(m, d.since, c.sent) {
		w.violate("hostsAreAskedAgain", "%s, and %s was not asked since that was decided", what, m.name())
	}
}

func silentVoters(e cluster.EtcdState, but cluster.MemberID) string {
	for _, m := range e.Voters() {
		if !m.Healthy && m.ID != but {
			return fmt.Sprintf("voter %s did not serve", m.ID)
		}
	}
	return ""
}

func (w *World) judgeAddStep(ctx context.Context, c *CKE, url string) {
	m := w.byPeerURL(url)
	d := w.judgeStep(ctx, c, "learner "+url+" is added", func(s plan.Step) bool {
		return s.Kind == plan.AddLearner && m != nil && slices.Contains(s.Nodes, m.name())
	}, func(e cluster.EtcdState, _ plan.Step, _ bool) string {
		if len(e.Learners()) > 0 {
			return "another learns"
		}
		return silentVoters(e, 0)
	})
	w.askedAgain(c, d, m, "learner "+url+" is added")
	wanted := slices.ContainsFunc(w.shelf.spec.Nodes, func(n cluster.Node) bool { return n.PeerURL() == url && n.ControlPlane })
	if !wanted && !w.editedLately() && !w.raft.agreed.hasURL(url) {
		w.violate("onlyWhatIsWanted", "a learner is added for %s, which is no node that may carry one", url)
	}
}

func (w *World) judgePromoteStep(ctx context.Context, c *CKE, id cluster.MemberID) {
	w.judgeStep(ctx, c, "learner "+id.String()+" is promoted", func(s plan.Step) bool { return s.Kind == plan.PromoteLearner && s.Member == id }, func(e cluster.EtcdState, s plan.Step, sure bool) string {
		if m, ok := e.Member(id); !ok || !m.Learner || sure && !s.ByHost && !m.Healthy {
			return "it is no learner that serves"
		}
		return ""
	})
}

func (w *World) judgeRemoveStep(ctx context.Context, c *CKE, id cluster.MemberID) {
	what := "member " + id.String() + " is removed"
	d := w.judgeStep(ctx, c, what, func(s plan.Step) bool { return s.Kind == plan.RemoveMember && s.Member == id }, func(e cluster.EtcdState, s plan.Step, sure bool) string {
		m, ok := e.Member(id)
		others := 0
		for _, o := range e.HealthyVoters() {
			if o.ID != id {
				others++
			}
		}
		switch {
		case !ok, m.Learner:
			return ""
		case others < cluster.Quorum(len(e.Voters())-1):
			return fmt.Sprintf("of the others only %d served", others)
		case m.Leader && len(e.Voters()) > 1:
			return "it led"
		case sure && s.NotServing && m.Healthy:
			return "it served again"
		}
		return ""
	})
	// A step that failed and is tried again may have another reason by now.
	if d != nil && d.step.DataLost && d.failed == 0 {
		w.askedAgain(c, d, w.machines[d.step.Nodes[0]], what+" for its lost data")
	}
}

func (w *World) judgeMoveStep(ctx context.Context, c *CKE, to cluster.MemberID) {
	w.judgeStep(ctx, c, "leadership is moved to "+to.String(), func(s plan.Step) bool { return s.Kind == plan.MoveLeader && s.To == to }, func(e cluster.EtcdState, _ plan.Step, _ bool) string {
		if m, ok := e.Member(to); !ok || m.Learner || !m.Healthy {
			return "it was no voter that serves"
		}
		return ""
	})
}

func (w *World) judgeDefragStep(ctx context.Context, c *CKE, id cluster.MemberID) {
	w.judgeStep(ctx, c, "member "+id.String()+" is defragmented", func(s plan.Step) bool { return s.Kind == plan.Defragment && s.Member == id }, func(e cluster.EtcdState, _ plan.Step, _ bool) string {
		m, ok := e.Member(id)
		switch {
		case !ok || !m.Healthy:
			return "it did not serve"
		case m.Learner:
			return ""
		case m.Leader && len(e.Voters()) > 1:
			return "it led"
		}
		return silentVoters(e, id)
	})
}

// judgeStopStep is of the stop of a voter for its restart: all others served when
// the step looked last, and what it worked with is on record, unless it is to go.
func (w *World) judgeStopStep(ctx context.Context, c *CKE, m *machine) {
	id := m.proc.unit.Member
	if !w.raft.agreed.votes(id) {
		return
	}
	leaves := c.onRecord(func(s plan.Step) bool { return s.Kind == plan.RemoveMember && s.Member == id && s.StopFirst }) != nil
	if r := w.shelf.restart; !leaves && m.unit != nil && !m.unit.SameSettings(m.proc.unit) && (r == nil || r.Member != id) {
		w.violate("whatItWorkedWithIsOnRecord", "voter %s is stopped to be started with other settings, and what it works with is not on record", id)
	}
	for _, d := range c.deeds.steps { // another step may have failed before this one
		if d.open && d.step.Kind != plan.RestartMember && d.step.Member == id {
			return
		}
	}
	if c.onRecord(func(s plan.Step) bool { return s.Kind == plan.RestartMember && s.Member == id }) == nil {
		return
	}
	w.judgeStep(ctx, c, "voter "+id.String()+" is stopped", func(s plan.Step) bool { return s.Kind == plan.RestartMember && s.Member == id }, func(e cluster.EtcdState, s plan.Step, sure bool) string {
		v, ok := e.Member(id)
		served := len(e.HealthyVoters())
		switch {
		case !ok:
			return "it was no member"
		case !sure && !v.Healthy && served >= cluster.Quorum(len(e.Voters())):
			return ""
		case s.Restart.Down && sure && (v.Healthy || served < cluster.Quorum(len(e.Voters()))):
			return fmt.Sprintf("it served: %v, and %d did", v.Healthy, served)
		case s.Restart.Down && sure, len(e.Voters()) <= 2:
			return ""
		case v.Leader:
			return "it led"
		}
		return silentVoters(e, 0)
	})
}

// judgeStart is of a start that the machine refuses: who had been told why could
// know.
func (w *World) judgeStart(c *CKE, m *machine, id cluster.MemberID) {
	d := c.onRecord(func(s plan.Step) bool {
		return s.Kind == plan.StartMembers && len(s.Nodes) == 1 && s.Nodes[0] == m.name()
	})
	if d == nil {
		return
	}
	f, told := c.deeds.toldBefore(m, d.knew)
	if !told || f.Unit == nil || f.Unit.Unit.Member != id {
		return
	}
	switch {
	case f.Unit.DataLost:
		w.violate("noStartWithoutItsData", "member %s is to be started, though %s had said that its data is gone", id, m.name())
	case f.Unit.NotMounted != "":
		w.violate("noStartWithoutItsData", "member %s is to be started, though %s had said that its disk is not mounted", id, m.name())
	case !f.Unit.Sealed && len(f.Data) == 0 && f.Unit.Unit.Founding == nil:
		w.violate("noStartWithoutItsData", "member %s is to be started on nothing, as %s had said", id, m.name())
	}
}

// judgeClean is of a machine that refuses to be cleaned, for it is in use.
func (w *World) judgeClean(c *CKE, m *machine) {
	d := c.onRecord(func(s plan.Step) bool { return s.Kind == plan.ForgetNode && slices.Contains(s.Nodes, m.name()) })
	if d == nil {
		return
	}
	// What somebody has put there just now may be told and not looked at yet.
	if f, told := c.deeds.toldBefore(m, d.knew); told && (f.Unit != nil || len(f.Data) > 0) && w.raft.at.Sub(m.placed) > justNow {
		w.violate("leavingNodesAreKept", "%s is to be cleaned, though it had said that it is in use", m.name())
	}
}

// idleMost is how long a step that hangs on no other may be asked for by each look
// and not be begun.
const idleMost = 5 * time.Second

// judgeIdle: nothing that leaves the membership alone waits for what fails, or for
// what goes on elsewhere.
func (w *World) judgeIdle(c *CKE) {
	v, _ := c.loop.View()
	idle := map[string]time.Time{}
	for _, s := range v.Plan.Steps {
		key := s.Key()
		since, waits := c.deeds.idle[key]
		if d := c.deeds.steps[key]; s.ChangesMembership() || s.Looks() || d != nil && (d.open || d.failed > 0 || waits && d.since.After(since)) || failing(v.Plan, s) {
			continue
		}
		if !waits {
			since = time.Now()
		}
		if idle[key] = since; time.Since(since) > idleMost && c.stopped.Before(since) {
			w.violate("nothingWaitsForWhatFails", "%s has been asked for since %s, and was not begun", key, since.Sub(w.began))
		}
	}
	c.deeds.idle = idle
}

// failing: the plan as it is shown says that the step fails.
func failing(p plan.Plan, s plan.Step) bool {
	return slices.ContainsFunc(p.Reasons, func(r plan.Reason) bool {
		return strings.HasPrefix(r.Text, string(s.Kind)+" ") && (r.Node == "" || slices.Contains(s.Nodes, r.Node))
	})
}
