package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// walkVersions takes three members to the older line of etcd and to the newer one
// again, and half-way down and back.
func walkVersions(t *testing.T, r *reached, rnd *rand.Rand) {
	l := &living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r}
	l.Start()
	l.grown(1, 2, 3)
	l.goTo(drive.OlderVersion, plan.TakeSnapshot, plan.EnableDowngrade, plan.RestartMember, plan.FinishRestart)
	l.goTo(cluster.DefaultVersion, plan.TakeSnapshot, plan.RestartMember, plan.FinishRestart)
	l.takeBack()
	l.rollBackVersion()
	down, up := l.change(drive.OlderVersion), l.change(cluster.DefaultVersion)
	if !drive.Long() {
		l.round(down, kill(1+rnd.IntN(20)))
		l.round(up, kill(1+rnd.IntN(20)))
		return
	}
	for {
		a, b := down.walk.next(), up.walk.next()
		if a+b == 0 {
			return
		}
		l.round(down, kill(a))
		l.round(up, kill(b))
	}
}

// change takes every member to a version.
func (l *living) change(version string) *change {
	return &change{
		name: "to " + version, nodes: []int{1, 2, 3}, edit: true, walk: newWalk(l.reached),
		prepare: func() { l.settings = "version: " + version },
		dead:    l.authStaysOn,
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "")
			l.allRun(version)
		},
	}
}

// goTo has a chain of daemons take every member to a version.
func (l *living) goTo(version string, kinds ...plan.Kind) {
	l.t.Helper()
	l.Kill()
	l.write()
	l.settings = "version: " + version
	edit, over := l.editTo(1, 2, 3)
	act := func() bool { return edit() && l.answered("resume") } // where it was paused
	l.chain(operation{"to " + version, act, over, l.intact}, kinds...)
	l.allRun(version)
	before := l.ids
	l.ids = l.checkCluster(l.root, 1, 2, 3)
	l.others(before, "")
}

// takeBack begins a way down, and has a chain of daemons go back once a member is of
// the older version.
func (l *living) takeBack() {
	l.t.Helper()
	l.settings = "version: " + drive.OlderVersion
	if _, lived := l.edit(1, 2, 3); !lived {
		l.t.Fatal("the daemon ended although nobody killed it")
	}
	l.Until("a member is of the older version", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Member != nil && n.Member.Version == drive.OlderVersion {
				return nil
			}
		}
		return errors.New("none is")
	})
	l.CLI("pause") // the next daemon does not go on with the way down
	l.goTo(cluster.DefaultVersion, plan.CancelDowngrade)
	l.noDowngrade()
}

// noDowngrade waits until etcd knows of no downgrade.
func (l *living) noDowngrade() {
	l.t.Helper()
	l.ask("no downgrade is under way", func(ctx context.Context) error {
		s, err := l.root.Status(ctx, "https://"+l.addr(1)+":2379")
		if err == nil && s.DowngradeInfo != nil && s.DowngradeInfo.Enabled {
			err = errors.New("one is")
		}
		return err
	})
}

// rollBackVersion goes down with a flag that the first member ends at: a chain of
// daemons rolls it back, to the version it worked with. Then all go back.
func (l *living) rollBackVersion() {
	l.t.Helper()
	l.Kill()
	l.write()
	l.settings = "version: " + drive.OlderVersion + `, extra_args: {election-timeout: "60000"}`
	act, _ := l.editTo(1, 2, 3)
	l.chain(operation{"roll back", act, func(s api.Status) error {
		for _, r := range s.Plan.Reasons {
			if r.Rule == "settingsFailed" && len(s.Plan.Steps)+len(s.Running) == 0 && s.Healthy {
				return nil
			}
		}
		return errors.New("no member was rolled back")
	}, l.intact}, plan.RollBackMember)
	l.settings = "version: " + cluster.DefaultVersion
	l.Set(l.withSettings(l.settings, 1, 2, 3))
	l.allRun(cluster.DefaultVersion)
	l.noDowngrade()
}
