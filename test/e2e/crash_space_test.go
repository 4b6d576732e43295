package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/test/drive"
)

// walkSpace fills the databases of three members again and again, and has them
// defragmented.
func walkSpace(t *testing.T, r *reached, rnd *rand.Rand) {
	l := (&living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r})
	l.settings = "quota: 32MiB"
	l.Start()
	l.grown(1, 2, 3)
	full, asked := l.noSpace(), l.defrag()
	for {
		a, b := full.walk.next(), asked.walk.next()
		if a+b == 0 {
			break
		}
		l.round(full, kill(a))
		l.round(asked, kill(b))
	}
	for range 2 {
		l.round(full, full.walk.double(rnd))
		l.round(asked, asked.walk.double(rnd))
	}
	l.killAfter(l.defragInVain(), "forget-defrag store.forget-defrag")
}

// noSpace has history fill the quota.
func (l *living) noSpace() *change {
	return &change{
		name: "no space", nodes: []int{1, 2, 3}, walk: newWalk(l.reached),
		prepare: func() { l.FillUp(l.root, func(n int) string { return fmt.Sprintf("/filler/%d", n%4) }) },
		dead:    l.authStaysOn,
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "")
			l.hasRoom(l.Settled())
		},
	}
}

// answered says whether a command that was given got through; false when the daemon
// died over it.
func (l *living) answered(args ...string) bool {
	l.t.Helper()
	r := l.Run("ckecli", args...)
	if r.Code == 0 {
		return true
	}
	select {
	case <-l.Ended():
	case <-time.After(drive.Patience):
		l.t.Fatalf("%v: exit %d from a daemon that lives\n%s", args, r.Code, r.Stderr)
	}
	return false
}

// defrag has a person ask for all members.
func (l *living) defrag() *change {
	return &change{
		name: "defrag", nodes: []int{1, 2, 3}, walk: newWalk(l.reached),
		prepare: func() {},
		act:     func() bool { return l.answered("etcd", "defrag") },
		dead:    l.authStaysOn,
		check:   func(before map[string]cluster.MemberID) { l.others(before, "") },
	}
}

// defragInVain asks for a member that goes before its turn comes.
func (l *living) defragInVain() *change {
	return &change{
		name: "defrag in vain", nodes: []int{1, 2, 3}, edit: true, walk: newWalk(l.reached),
		prepare: func() {
			l.Start()
			l.Set(l.withSettings(l.settings, 1, 2, 3, 4))
			l.CLI("pause")
			l.CLI("etcd", "defrag", "cp4")
			l.Kill()
		},
		act: func() bool {
			_, lived := l.edit(1, 2, 3)
			return lived && l.answered("resume")
		},
		dead:  l.authStaysOn,
		check: func(before map[string]cluster.MemberID) { l.others(before, "") },
	}
}
