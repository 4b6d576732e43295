package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// seated are the steps with which a spare takes a seat.
func seated(more ...plan.Kind) []plan.Kind {
	return append(more, plan.RemoveMember, plan.AddLearner, plan.PromoteLearner)
}

// walkSpares has seats taken by spares: that of a member which hangs, and that of a
// learner which never came.
func walkSpares(t *testing.T, r *reached) {
	l := &living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r}
	l.withSpare()
	l.freeze("cp2")
	l.chain(operation{"replace one that hangs", nil, taken("cp4", "cp2"), l.intact}, seated(plan.RetireMember)...)
	l.dataIsAside("cp2")
	l.onlyMembersAre(1, 3, 4)

	with := l.settings
	l.settings = patience
	l.Set(l.withSettings(l.settings, 1, 3))
	l.settings = with
	l.Kill()
	l.write()
	l.startMortal(1, "start-members host.start-unit")
	if _, lived := l.edit(1, 2, 3, 4); !lived {
		t.Fatal("the daemon ended before it had the spec")
	}
	l.diedOr(func(api.Status) error { return errors.New("no learner was started") })
	first := "cp2"
	if _, runs := l.members()["cp4"]; runs {
		first = "cp4"
	}
	l.freeze(first)
	// Which daemon remembers that it did not come is a matter of chance, so whose seat it
	// is now is one too.
	l.chain(operation{"take a learner back", nil, func(s api.Status) error {
		if !s.Settled || len(s.Nodes) != 4 {
			return fmt.Errorf("%d nodes", len(s.Nodes))
		}
		return nil
	}, l.intact}, seated(plan.RetireMember)...)
	l.retired(first)
	if len(l.members()) != 3 {
		t.Errorf("members run on %v", l.members())
	}
}

// walkFullDisk has a spare take the seat of a member whose file system is full.
func walkFullDisk(t *testing.T, r *reached) {
	l := &living{mortal: &mortal{env: newEnv(t), watch: func() {}}, reached: r}
	l.ownDisk("cp3")
	l.withSpare()
	l.fillDisk("cp3")
	l.fillLog("cp3")
	l.chain(operation{"replace one whose disk is full", nil, taken("cp4", "cp3"), l.intact}, seated()...)
	l.freeDisk("cp3")
	l.onlyMembersAre(1, 2, 4)
	l.retired("cp3")
}

// patience takes a member for dead after some seconds; see threeOf.
const patience = "quota: 128MiB, replace_after: 20s"

// withSpare founds three members and adds a spare. No daemon runs then.
func (l *living) withSpare() {
	l.t.Helper()
	l.settings = patience
	l.Start()
	l.grown(1, 2, 3)
	l.settings = patience + ", members: 3"
	l.Set(l.withSettings(l.settings, 1, 2, 3, 4))
	l.Kill()
	l.write()
}

// retired checks that data is aside on a node, which may have a file system for it.
func (l *living) retired(node string) {
	l.t.Helper()
	_, aside := l.dataDirs(node)
	own, err := filepath.Glob(filepath.Join(l.disk(node), "main/.aside/*"))
	if len(aside)+len(own) == 0 {
		l.t.Errorf("no data is aside on %s (%v)", node, err)
	}
}

// taken: the first node's member has the second's seat, and nothing is left to do.
func taken(by, of cluster.NodeName) func(api.Status) error {
	return func(s api.Status) error {
		switch {
		case !voterOn(s, by) || memberOn(s, of) != 0:
			return fmt.Errorf("%s has not taken the seat of %s", by, of)
		case len(s.Plan.Steps)+len(s.Running) > 0:
			return errors.New("there is something left to do")
		}
		return nil
	}
}

// fillLog writes until a member whose disk is full has ended.
func (l *living) fillLog(node string) {
	l.t.Helper()
	value := strings.Repeat("z", 256<<10)
	n := 0
	l.Eventually(node+" ends for lack of room", func() error {
		n++
		ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
		defer cancel()
		_, err := l.root.Put(ctx, fmt.Sprintf("/filler/%d", n), value)
		if _, runs := l.members()[node]; runs {
			return fmt.Errorf("it runs after %d writes (the last: %v)", n, err)
		}
		return nil
	})
}
