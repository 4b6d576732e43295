package app

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/reconcile"
)

// A transfer that tells of each kilobyte is sent four times a second; what else
// changes is sent at once.
func TestProgressIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		changed, moved := make(chan struct{}), make(chan struct{})
		var mu sync.Mutex
		var done int64
		tick := func() {
			mu.Lock()
			defer mu.Unlock()
			done++
			close(moved)
			moved = make(chan struct{})
			if time.Since(began) == 1100*time.Millisecond {
				close(changed)
				changed = make(chan struct{})
			}
		}
		go func() {
			defer cancel()
			for range 2000 {
				<-time.After(time.Millisecond)
				tick()
			}
		}()
		var at []time.Duration
		err := follow(ctx, func() (api.Status, bool, <-chan struct{}, <-chan struct{}) {
			mu.Lock()
			defer mu.Unlock()
			return api.Status{Progress: []cluster.Progress{{Done: done}}}, true, changed, moved
		}, func(s api.Status) error {
			if want := int64(time.Since(began) / time.Millisecond); s.Progress[0].Done < want-1 {
				t.Errorf("after %d ms it says %d", want, s.Progress[0].Done)
			}
			at = append(at, time.Since(began))
			return nil
		})
		if !errors.Is(err, context.Canceled) || len(at) < 8 || len(at) > 10 {
			t.Errorf("%v, sent at %v", err, at)
		}
		atOnce := false
		for _, a := range at {
			atOnce = atOnce || a == 1100*time.Millisecond
		}
		if !atOnce {
			t.Errorf("a change at 1.1 s is sent at %v", at)
		}
	})
}

// Who waits for a machine's reboot sees it by its boot.
func TestStatusTellsWhichBootAMachineRuns(t *testing.T) {
	n := cluster.Node{Hostname: "cp1", User: "root"}
	var v reconcile.View
	v.Wanted.Spec.Nodes = []cluster.Node{n}
	v.State.Nodes = map[cluster.NodeName]cluster.NodeState{"cp1": {Boot: "b2"}}
	if s := status(v); len(s.Nodes) != 1 || s.Nodes[0].Boot != "b2" {
		t.Errorf("it says %+v", s.Nodes)
	}
}
