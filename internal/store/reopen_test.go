package store

import (
	"runtime"
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
	stop := make(chan struct{})
	defer close(stop)
	for range 2 * runtime.NumCPU() {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	for range 6 {
		closeStore(t, open(t, o))
	}
}
