package kube

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// electionWithin is how long nobody can write after a leader's death, at most, if the
// first round of the election has a winner: the members miss the leader after one
// second at least and two at most. In about one of ten they stand against each other at
// the same time, and there is another round, or more, by chance; and on a busy machine
// the winner takes its time. Until then etcd takes no write, the API server's neither.
const electionWithin = 2 * time.Second

const (
	writeEvery    = 50 * time.Millisecond
	writePatience = time.Second
)

// writing watches how long etcd takes no write.
type writing struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	took   time.Time // when a write was last acknowledged
	gap    time.Duration
}

// watchWrites has these machines' members write in turn until finish. Each write is one
// of its own, for one that was sent to a leader that dies is lost, and says so late.
func (e *env) watchWrites(nodes ...int) *writing {
	e.t.Helper()
	cert := e.RootCert()
	var members []*clientv3.Client
	for _, a := range e.addrs(nodes...) {
		members = append(members, e.Connect(cert, a))
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &writing{cancel: cancel, took: time.Now()}
	w.wg.Go(func() {
		var writes sync.WaitGroup
		defer writes.Wait()
		t := time.NewTicker(writeEvery)
		defer t.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			writes.Go(func() { w.write(ctx, members[n%len(members)]) })
			select {
			case <-ctx.Done():
			case <-t.C:
			}
		}
	})
	e.t.Cleanup(func() { cancel(); w.wg.Wait() })
	return w
}

func (w *writing) write(ctx context.Context, c *clientv3.Client) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if _, err := c.Put(ctx, "/is/written", ""); err == nil {
		w.taken(time.Now())
	}
}

func (w *writing) taken(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gap, w.took = max(w.gap, at.Sub(w.took)), at
}

// finish returns the longest time without a write beyond what an election takes whose
// first round has a winner.
func (w *writing) finish() time.Duration {
	w.cancel()
	w.wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, w.gap-electionWithin)
}
