package sim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAChangeOfSettingsMovesTheLeaderOnce: where nothing is broken, each member is
// stopped once and leadership moves once at most, however many members there are.
func TestAChangeOfSettingsMovesTheLeaderOnce(t *testing.T) {
	authority := bubbled(t)
	for members := 1; members <= 7; members++ {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%d members, seed %d", members, seed), func(t *testing.T) {
				var w *World
				var err error
				moved, settled := 0, false
				synctest.Test(t, func(*testing.T) {
					w, err = New(Options{Seed: seed, Machines: members, Founded: true, Published: seed > 0, Authority: authority, Trace: true})
					if err != nil {
						return
					}
					w.Begin()
					pass(20 * time.Second)
					before := w.raft.moves
					if err = w.Happen("spec quota=9"); err == nil {
						pass(5 * time.Minute)
						moved, settled = w.raft.moves-before, w.Misplaced() == "" && w.View().Plan.Settled()
					}
					w.Close()
				})
				if err != nil {
					t.Fatal(err)
				}
				stops := 0
				for _, line := range w.Trace() {
					if strings.Contains(line, ": stop ") {
						stops++
					}
				}
				// Of two voters or one none can be spared: there is an election.
				most := 1
				if members == 2 {
					most = 2
				}
				if !settled || stops != members || moved > most || len(w.Violations()) > 0 {
					t.Errorf("settled %v after %d stops and %d moves: %v\n%s", settled, stops, moved, w.Violations(), strings.Join(w.Trace(), "\n"))
				}
			})
		}
	}
}
