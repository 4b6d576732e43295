package execute

import (
	"fmt"

	"cke/internal/plan"
)

// action is the one of the step's kind.
func (t target) action() (action, error) {
	begin, ok := actions()[t.step.Kind]
	if !ok {
		return nil, fmt.Errorf("step kind %q is unknown", t.step.Kind)
	}
	return begin(t), nil
}

// actions says what each kind of step does.
func actions() map[plan.Kind]func(target) action {
	return map[plan.Kind]func(target) action{
		plan.CheckHosts:                func(t target) action { return checkHosts{t} },
		plan.InstallEtcd:               func(t target) action { return nodewise{t, installEtcd{t}, Timeout(plan.InstallEtcd)} },
		plan.RecordBootstrap:           func(t target) action { return recordBootstrap{t} },
		plan.InstallCertificates:       func(t target) action { return nodewise{t, installCertificates{t}, nodeTimeout} },
		plan.InstallUnits:              func(t target) action { return nodewise{t, installUnits{t}, nodeTimeout} },
		plan.StartMembers:              func(t target) action { return nodewise{t, startMembers{t}, nodeTimeout} },
		plan.InstallClientCertificates: func(t target) action { return nodewise{t, installClientCertificates{t}, nodeTimeout} },
		plan.PutGateway:                func(t target) action { return nodewise{t, putGateway{t}, nodeTimeout} },
		plan.RemoveGateway:             func(t target) action { return nodewise{t, removeGateway{t}, nodeTimeout} },
		plan.ConfigureAuth:             func(t target) action { return configureAuth{t} },
		plan.FinishBootstrap:           func(t target) action { return finishBootstrap{t} },
		plan.AddLearner:                func(t target) action { return addLearner{t} },
		plan.PromoteLearner:            func(t target) action { return promoteLearner{t} },
		plan.MoveLeader:                func(t target) action { return moveLeader{t} },
		plan.RemoveMember:              func(t target) action { return removeMember{t} },
		plan.RetireMember:              func(t target) action { return retireMember{t} },
		plan.ForgetNode:                func(t target) action { return forgetNode{t} },
		plan.ForgetUser:                func(t target) action { return forgetUser{t} },
		plan.Compact:                   func(t target) action { return compact{t} },
		plan.Defragment:                func(t target) action { return defragment{t} },
		plan.DisarmAlarm:               func(t target) action { return disarmAlarm{t} },
		plan.ForgetDefrag:              func(t target) action { return forgetDefrag{defragment{t}} },
		plan.RestartMember:             func(t target) action { return restartMember{t} },
		plan.FinishRestart:             func(t target) action { return finishRestart{t} },
		plan.RollBackMember:            func(t target) action { return rollBackMember{t} },
		plan.TakeSnapshot:              func(t target) action { return takeSnapshot{t} },
		plan.EnableDowngrade:           func(t target) action { return enableDowngrade{t} },
		plan.StopMember:                func(t target) action { return stopMember{t} },
		plan.FinishDrain:               func(t target) action { return finishDrain{t} },
		plan.DrainNode:                 func(t target) action { return recordDrain{t} },
		plan.UndrainNode:               func(t target) action { return recordDrain{t} },
		plan.RebootMachine:             func(t target) action { return rebootMachine{t} },
		plan.FinishReboot:              func(t target) action { return finishReboot{t} },
		plan.CancelDowngrade:           func(t target) action { return cancelDowngrade{t} },
	}
}
