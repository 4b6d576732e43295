package app

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/reconcile"
)

// lookedAt are looks of which one begins when somebody asks for it, and takes its time.
type lookedAt struct {
	mu      sync.Mutex
	view    reconcile.View
	changed chan struct{}
	after   time.Duration // until there is a quorum; 0: never
}

func (l *lookedAt) View() (reconcile.View, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view, l.changed
}

func (l *lookedAt) Wake() {
	if l.after > 0 {
		time.AfterFunc(l.after, func() { l.show(true) })
	}
}

func (l *lookedAt) show(quorum bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.Seq++
	l.view.State.Etcd.Quorum, l.view.State.Etcd.Err = quorum, "no leader"
	close(l.changed)
	l.changed = make(chan struct{})
}

// TestAQuorumIsLookedForAgain: the last look may have come between two leaders. Who asks
// for a change is sent away only when there is no quorum for a while.
func TestAQuorumIsLookedForAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration
		ok    bool
		took  time.Duration
	}{
		"between two leaders": {2 * time.Second, true, 2 * time.Second},
		"lost":                {0, false, quorumPatience},
		"back too late":       {2 * quorumPatience, false, quorumPatience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lookedAt{changed: make(chan struct{}), after: c.after}
				l.show(false)
				began := time.Now()
				v, err := quorate(t.Context(), l)
				if (err == nil) != c.ok || v.State.Etcd.Quorum != c.ok || time.Since(began) != c.took {
					t.Errorf("after %s: quorum %v, %v", time.Since(began), v.State.Etcd.Quorum, err)
				}
				if err != nil && !strings.Contains(err.Error(), "etcd has no quorum now: no leader") {
					t.Error(err)
				}
			})
		})
	}
}
