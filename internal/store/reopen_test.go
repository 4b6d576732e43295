package store

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestReopensWithALogToReplay opens a store with a long log over and over on a
// busy machine: a campaign before raft has taken note of what was applied would
// end the start.
func TestReopensWithALogToReplay(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	for range 300 {
		add(t, s, "main", "again")
	}
	closeStore(t, s)
	var stop atomic.Bool
	defer stop.Store(true)
	for range 2 * runtime.NumCPU() {
		go func() {
			for n := 0; !stop.Load(); n++ {
				runtime.KeepAlive(n)
			}
		}()
	}
	for range 6 {
		closeStore(t, open(t, o))
	}
}
