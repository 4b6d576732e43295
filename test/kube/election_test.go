package kube

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// electionWithin is what an election takes at most, counted from the leader's death,
// if its first round has a winner: the members miss the leader after one second at
// least and two at most. In about one of ten they stand against each other at the
// same time, and there is another round, or more, by chance. Until it is over nobody
// writes, the API server neither.
const electionWithin = 2 * time.Second

// leadership watches how long there is no leader.
type leadership struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	led    time.Time // when a leader was last seen
	gap    time.Duration
}

// watchLeader asks these machines' members until finish. One that another names
// leads only when it answers itself.
func (e *env) watchLeader(nodes ...int) *leadership {
	e.t.Helper()
	cert := e.RootCert()
	var members []*clientv3.Client
	for _, a := range e.addrs(nodes...) {
		members = append(members, e.Connect(cert, a))
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &leadership{cancel: cancel, led: time.Now()}
	l.wg.Go(func() {
		for ctx.Err() == nil {
			if haveLeader(ctx, members) {
				now := time.Now()
				l.mu.Lock()
				l.gap, l.led = max(l.gap, now.Sub(l.led)), now
				l.mu.Unlock()
			}
			again(ctx)
		}
	})
	e.t.Cleanup(func() { cancel(); l.wg.Wait() })
	return l
}

func haveLeader(ctx context.Context, members []*clientv3.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	said := make([]*clientv3.StatusResponse, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			if st, err := m.Status(ctx, m.Endpoints()[0]); err == nil {
				said[i] = st
			}
		})
	}
	wg.Wait()
	return slices.ContainsFunc(said, func(st *clientv3.StatusResponse) bool {
		return st != nil && st.Leader == st.Header.MemberId
	})
}

// finish returns the longest time without a leader beyond what an election takes
// whose first round has a winner.
func (l *leadership) finish() time.Duration {
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.gap-electionWithin)
}
