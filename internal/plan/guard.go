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
	case AddLearner, PromoteLearner, MoveLeader, RemoveMember, RetireMember, RestartMember:
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
	case RestartMember:
		if why := restartUnsafe(e, m, s.Restart.Down); !found || why != "" {
			return fmt.Errorf("guard %s: %s", s.Kind, orElse(why, "member "+s.Member.String()+" is not in the cluster"))
		}
	case RetireMember:
		if found {
			return fmt.Errorf("guard %s: member %s is in the cluster", s.Kind, s.Member)
		}
	}
	return nil
}
