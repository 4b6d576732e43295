package drive

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Load writes about 100 keys a second as tenant app and remembers each
// acknowledged one. It follows the membership, as an application that resolves
// its endpoints anew would.
type Load struct {
	in     *Installation
	client *clientv3.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	acked  []int
	failed []error
	reads  []error // linearizable reads that failed for readPatience
	sound  bool    // reads must not fail
}

const (
	writeEvery   = 10 * time.Millisecond
	readPatience = 10 * time.Second
)

// StartLoad needs user app with prefix /app/. With outages, quorum may be lost
// for a while, and only acknowledged writes count.
func (in *Installation) StartLoad(outages bool, addresses ...string) *Load {
	in.T.Helper()
	l := &Load{in: in, client: in.Connect(in.UserCert("app"), addresses...), sound: !outages}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.wg.Go(func() { l.write(ctx) })
	l.wg.Go(func() { l.sync(ctx) })
	if l.sound {
		l.wg.Go(func() { l.read(ctx) })
	}
	in.T.Cleanup(func() { cancel(); l.wg.Wait() })
	return l
}

func (l *Load) write(ctx context.Context) {
	t := time.NewTicker(writeEvery)
	defer t.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		put, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		_, err := l.client.Put(put, "/app/"+strconv.Itoa(n), strconv.Itoa(n))
		cancel()
		l.mu.Lock()
		if err == nil {
			l.acked = append(l.acked, n)
		} else {
			l.failed = append(l.failed, err)
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// read asks for a linearizable answer over and over. One that does not come
// within several election timeouts means that quorum was lost.
func (l *Load) read(ctx context.Context) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := l.readOnce(context.WithoutCancel(ctx)); err != nil {
			l.mu.Lock()
			l.reads = append(l.reads, err)
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

func (l *Load) readOnce(ctx context.Context) error {
	var err error
	for deadline := time.Now().Add(readPatience); time.Now().Before(deadline); {
		get, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = l.client.Get(get, "/app/0")
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (l *Load) sync(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = l.client.Sync(s) // tried again in a moment
		cancel()
	}
}

// Count is how many writes were acknowledged so far.
func (l *Load) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Wrote waits until so many more writes were acknowledged.
func (l *Load) Wrote(more int) {
	l.in.T.Helper()
	want := l.Count() + more
	l.in.Eventually("writes go on", func() error {
		if n := l.Count(); n < want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
}

// Finish stops writing and checks that every acknowledged write is there, that
// quorum was never lost, and that enough was written to mean something.
func (l *Load) Finish(atLeast int) {
	l.in.T.Helper()
	l.cancel()
	l.wg.Wait()
	t := l.in.T
	if len(l.reads) > 0 {
		t.Errorf("%d linearizable reads failed for %s, first: %v", len(l.reads), readPatience, l.reads[0])
	}
	if len(l.acked) < atLeast {
		t.Errorf("only %d writes were acknowledged, %d failed; at least %d make the test mean something", len(l.acked), len(l.failed), atLeast)
	}
	have := l.readBack()
	lost := 0
	for _, n := range l.acked {
		if have["/app/"+strconv.Itoa(n)] != strconv.Itoa(n) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acked))
	}
	t.Logf("%d writes acknowledged, %d failed, %d lost", len(l.acked), len(l.failed), lost)
	for _, err := range l.failed[:min(3, len(l.failed))] {
		t.Logf("a failed write: %v", err)
	}
}

func (l *Load) readBack() map[string]string {
	l.in.T.Helper()
	have := map[string]string{}
	l.in.Eventually("read everything back", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		resp, err := l.client.Get(ctx, "/app/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			have[string(kv.Key)] = string(kv.Value)
		}
		return nil
	})
	return have
}
