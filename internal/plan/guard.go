package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// Guard says whether a step that changes the membership is still safe on a
// fresh observation, taken immediately before the act. It repeats only what can
// cost quorum or data, so that a rule's mistake does not become an outage.
func Guard(s Step, e cluster.EtcdState) error {
	switch s.Kind {
	case AddLearner, PromoteLearner, MoveLeader, RemoveMember, RetireMember, RestartMember, EnableDowngrade, CancelDowngrade,
		Compact, Defragment, DisarmAlarm:
		if !e.Quorum {
			return fmt.Errorf("guard %s: no quorum now", s.Kind)
		}
	}
	m, found := e.Member(s.Member)
	switch s.Kind {
	case AddLearner:
		if len(e.Learners()) > 0 {
			return fmt.Errorf("guard %s: another learner is on its way", s.Kind)
		}
		if voters, healthy := len(e.Voters()), len(e.HealthyVoters()); healthy < voters {
			return fmt.Errorf("guard %s: %d of %d voters serve", s.Kind, healthy, voters)
		}
	case PromoteLearner:
		if !found || !m.Learner || !InSync(e, m) {
			return fmt.Errorf("guard %s: member %s is no serving learner that has caught up", s.Kind, s.Member)
		}
	case RemoveMember:
		if found && s.Serving && !m.Healthy {
			return fmt.Errorf("guard %s: member %s does not serve any more", s.Kind, s.Member)
		}
		if found && s.NotServing && m.Healthy {
			return fmt.Errorf("guard %s: member %s serves again", s.Kind, s.Member)
		}
		if found && !m.Learner {
			if why := removalUnsafe(e, m); why != "" {
				return fmt.Errorf("guard %s: %s", s.Kind, why)
			}
			if m.Leader && len(e.Voters()) > 1 {
				return fmt.Errorf("guard %s: member %s leads", s.Kind, s.Member)
			}
		}
	case MoveLeader:
		if to, ok := e.Member(s.To); !ok || to.Learner || !to.Healthy {
			return fmt.Errorf("guard %s: member %s is no healthy voter", s.Kind, s.To)
		}
	case Defragment:
		return guardDefragment(s, e)
	case DisarmAlarm:
		return guardDisarm(s, e)
	case RestartMember:
		if why := restartUnsafe(e, m, s.Restart.Down); !found || why != "" {
			return fmt.Errorf("guard %s: %s", s.Kind, orElse(why, "member "+s.Member.String()+" is not in the cluster"))
		}
	case EnableDowngrade:
		if voters, healthy := len(e.Voters()), len(e.HealthyVoters()); healthy < voters {
			return fmt.Errorf("guard %s: %d of %d voters serve", s.Kind, healthy, voters)
		}
	case RetireMember:
		if found {
			return fmt.Errorf("guard %s: member %s is in the cluster", s.Kind, s.Member)
		}
	}
	return nil
}

func guardDefragment(s Step, e cluster.EtcdState) error {
	m, found := e.Member(s.Member)
	voters, healthy := len(e.Voters()), len(e.HealthyVoters())
	switch {
	case !found || !m.Healthy:
		return fmt.Errorf("guard %s: member %s does not serve", s.Kind, s.Member)
	case m.Learner:
		return nil
	case healthy < voters:
		return fmt.Errorf("guard %s: %d of %d voters serve", s.Kind, healthy, voters)
	case voters <= 2 && !s.Interrupts:
		return fmt.Errorf("guard %s: the cluster would stand still", s.Kind)
	case m.Leader && voters > 1:
		return fmt.Errorf("guard %s: member %s leads", s.Kind, s.Member)
	}
	return nil
}

// guardDisarm: writes are let in again only where there is room for them.
func guardDisarm(s Step, e cluster.EtcdState) error {
	if s.Alarm != cluster.AlarmNoSpace {
		return nil
	}
	for _, m := range e.Members {
		if m.Healthy && m.Quota > 0 && float64(m.DBSize) >= nearlyFull*float64(m.Quota) {
			return fmt.Errorf("guard %s: member %s has reached %d bytes of its quota of %d", s.Kind, m.ID, m.DBSize, m.Quota)
		}
	}
	return nil
}
