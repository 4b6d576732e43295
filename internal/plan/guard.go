package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// Guard says whether a step that changes the membership is still safe on a
// fresh observation, taken immediately before the act. It repeats only what can
// cost quorum or data, so that a rule's mistake does not become an outage.
func Guard(s Step, e cluster.EtcdState) error {
	if why := unsafe(s, e); why != "" {
		return fmt.Errorf("guard %s: %s", s.Kind, why)
	}
	return nil
}

// unsafe says why a step must not be taken now, or nothing.
func unsafe(s Step, e cluster.EtcdState) string {
	switch s.Kind {
	case AddLearner, PromoteLearner, MoveLeader, RemoveMember, RetireMember, RestartMember, EnableDowngrade, CancelDowngrade,
		Compact, Defragment, DisarmAlarm, StopMember:
		if !e.Quorum {
			return "no quorum now"
		}
	}
	m, found := e.Member(s.Member)
	switch {
	case s.Kind == AddLearner && len(e.Learners()) > 0:
		return "another learner is on its way"
	case s.Kind == AddLearner || s.Kind == EnableDowngrade:
		return unlessAllServe(e)
	// What a host says of its learner the step has asked anew by itself.
	case s.Kind == PromoteLearner && (!found || !m.Learner || !s.ByHost && !InSync(e, m)):
		return fmt.Sprintf("member %s is no serving learner that has caught up", s.Member)
	case s.Kind == RemoveMember && found:
		return removalRefused(s, e, m)
	case s.Kind == MoveLeader:
		if to, ok := e.Member(s.To); !ok || to.Learner || !to.Healthy {
			return fmt.Sprintf("member %s is no healthy voter", s.To)
		}
	case s.Kind == Defragment:
		return defragRefused(s, e)
	case s.Kind == DisarmAlarm:
		return disarmRefused(s, e)
	case s.Kind == RestartMember && !found:
		return fmt.Sprintf("member %s is not in the cluster", s.Member)
	case s.Kind == RestartMember:
		return restartUnsafe(e, m, s.Restart.Down)
	case s.Kind == RollBackMember && found:
		return rollBackUnsafe(e, m)
	case s.Kind == StopMember && found:
		return drainUnsafe(e, m, s.Drain.Interrupt)
	case s.Kind == RebootMachine && quorumNeedsAll(e, s.Reboot.Interrupt):
		return fmt.Sprintf("the quorum needs the member on %s", s.Nodes[0])
	case s.Kind == RetireMember && found:
		return fmt.Sprintf("member %s is in the cluster", s.Member)
	}
	return ""
}

func unlessAllServe(e cluster.EtcdState) string {
	if voters, healthy := len(e.Voters()), len(e.HealthyVoters()); healthy < voters {
		return fmt.Sprintf("%d of %d voters serve", healthy, voters)
	}
	return ""
}

func removalRefused(s Step, e cluster.EtcdState, m cluster.Member) string {
	switch {
	case s.Serving && !m.Healthy:
		return fmt.Sprintf("member %s does not serve any more", s.Member)
	case s.NotServing && m.Healthy:
		return fmt.Sprintf("member %s serves again", s.Member)
	case m.Learner:
		return ""
	case s.StopFirst && stopFirstUnsafe(e, m) != "":
		return stopFirstUnsafe(e, m)
	case m.Leader && len(e.Voters()) > 1:
		return orElse(removalUnsafe(e, m), fmt.Sprintf("member %s leads", s.Member))
	}
	return removalUnsafe(e, m)
}

func defragRefused(s Step, e cluster.EtcdState) string {
	m, found := e.Member(s.Member)
	voters, healthy := len(e.Voters()), len(e.HealthyVoters())
	switch {
	case !found || !m.Healthy:
		return fmt.Sprintf("member %s does not serve", s.Member)
	case m.Learner:
		return ""
	case healthy < voters:
		return unlessAllServe(e)
	case voters <= 2 && !s.Interrupts:
		return "the cluster would stand still"
	case m.Leader && voters > 1:
		return fmt.Sprintf("member %s leads", s.Member)
	}
	return ""
}

// disarmRefused: writes are let in again only where there is room for them.
func disarmRefused(s Step, e cluster.EtcdState) string {
	if s.Alarm != cluster.AlarmNoSpace {
		return ""
	}
	for _, m := range e.Members {
		if m.Healthy && m.Quota > 0 && float64(m.DBSize) >= nearlyFull*float64(m.Quota) {
			return fmt.Sprintf("member %s has reached %d bytes of its quota of %d", m.ID, m.DBSize, m.Quota)
		}
	}
	return ""
}
