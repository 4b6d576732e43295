package plan

import (
	"testing"

	"cke/internal/cluster"
)

func TestGuardOfWhatMakesRoom(t *testing.T) {
	voters := func(n int, change func([]cluster.Member)) cluster.EtcdState {
		e := cluster.EtcdState{Quorum: true}
		for i := range n {
			e.Members = append(e.Members, cluster.Member{
				ID: cluster.MemberID(i + 1), Healthy: true, Leader: i == 0, DBSize: 50, Quota: 100,
			})
		}
		if change != nil {
			change(e.Members)
		}
		return e
	}
	defrag := func(id cluster.MemberID, interrupts bool) Step {
		return Step{Kind: Defragment, Member: id, Interrupts: interrupts}
	}
	ill := func(ids ...int) func([]cluster.Member) {
		return func(m []cluster.Member) {
			for _, id := range ids {
				m[id-1].Healthy = false
			}
		}
	}
	back := Step{Kind: RollBackMember, Member: 2}
	reboot := func(interrupt bool) Step {
		return Step{Kind: RebootMachine, Nodes: []cluster.NodeName{"cp2"}, Reboot: &cluster.Reboot{Interrupt: interrupt}}
	}
	disarm := Step{Kind: DisarmAlarm, Alarm: cluster.AlarmNoSpace}
	for name, c := range map[string]struct {
		step Step
		e    cluster.EtcdState
		ok   bool
	}{
		"a follower":         {defrag(2, false), voters(3, nil), true},
		"the leader":         {defrag(1, false), voters(3, nil), false},
		"nobody":             {defrag(9, false), voters(3, nil), false},
		"one is ill":         {defrag(2, false), voters(3, func(m []cluster.Member) { m[2].Healthy = false }), false},
		"it is ill":          {defrag(2, false), voters(3, func(m []cluster.Member) { m[1].Healthy = false }), false},
		"a learner":          {defrag(4, false), voters(4, func(m []cluster.Member) { m[3].Learner, m[2].Healthy = true, false }), true},
		"one of two":         {defrag(2, false), voters(2, nil), false},
		"one of two, told":   {defrag(2, true), voters(2, nil), true},
		"alone, told":        {defrag(1, true), voters(1, nil), true},
		"leader of two":      {defrag(1, true), voters(2, nil), false},
		"no quorum":          {defrag(2, false), func() cluster.EtcdState { e := voters(3, nil); e.Quorum = false; return e }(), false},
		"back, all serve":    {back, voters(3, nil), true},
		"back, is needed":    {back, voters(3, ill(3)), false},
		"back, is down":      {back, voters(3, ill(2)), true},
		"back, no quorum":    {back, func() cluster.EtcdState { e := voters(3, ill(2, 3)); e.Quorum = false; return e }(), true},
		"back, only unseen":  {back, voters(3, ill(2, 3)), false}, // two take part, whichever
		"back, nobody":       {back, cluster.EtcdState{}, true},
		"back, one of two":   {back, voters(2, nil), true},
		"back, of five":      {back, voters(5, ill(5)), true},
		"boot, one stopped":  {reboot(false), voters(3, ill(2)), true},
		"boot, two fell":     {reboot(false), voters(3, ill(2, 3)), false},
		"boot, two, told":    {reboot(true), voters(3, ill(2, 3)), false},
		"boot, nobody":       {reboot(false), cluster.EtcdState{}, false},
		"boot, nobody, told": {reboot(true), cluster.EtcdState{}, true},
		"room":               {disarm, voters(3, nil), true},
		"no room":            {disarm, voters(3, func(m []cluster.Member) { m[2].DBSize = 90 }), false},
		"no room, away":      {disarm, voters(3, func(m []cluster.Member) { m[2].DBSize, m[2].Healthy = 90, false }), true},
		"compact, quorum":    {Step{Kind: Compact, Revision: 7}, voters(1, nil), true},
		"compact, nobody":    {Step{Kind: Compact, Revision: 7}, cluster.EtcdState{}, false},
		"room, unsaid quota": {disarm, voters(3, func(m []cluster.Member) { m[2].Quota = 0 }), true},
	} {
		if err := Guard(c.step, c.e); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
