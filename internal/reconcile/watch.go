package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/observe"
)

// exitWatch waits at each host for the end of its member's process, so that the
// loop looks at once and not at its next interval.
type exitWatch struct {
	hosts   observe.Hosts
	cluster string
	ended   func(cluster.NodeName)

	mu      sync.Mutex
	watched map[cluster.NodeName]struct{}
	// began is when the end of each was last waited for.
	began map[cluster.NodeName]time.Time
	wg    sync.WaitGroup
}

// waitAgain is how long lies between two waits at one host, at least: one that says at
// once each time that the process has ended must not keep the loop turning.
const waitAgain = time.Second

// follow watches every running unit that is not watched yet.
func (e *exitWatch) follow(ctx context.Context, nodes []cluster.Node, st cluster.State) {
	for _, n := range nodes {
		u := st.Nodes[n.Hostname].Unit
		if u == nil || !u.Running {
			continue
		}
		e.mu.Lock()
		_, already := e.watched[n.Hostname]
		e.watched[n.Hostname] = struct{}{}
		e.mu.Unlock()
		if !already {
			e.wg.Go(func() { e.watch(ctx, n) })
		}
	}
}

func (e *exitWatch) watch(ctx context.Context, n cluster.Node) {
	h, err := e.hosts.Host(n)
	if err == nil {
		err = e.rest(ctx, n.Hostname)
	}
	if err == nil {
		// An error means that the host is away; the next look says so, and the
		// one after it watches again.
		err = h.WaitUnit(ctx, e.cluster, true)
	}
	e.mu.Lock()
	delete(e.watched, n.Hostname)
	e.mu.Unlock()
	if err == nil {
		e.ended(n.Hostname)
	}
}

// rest lets the time pass that the next wait must not begin in.
func (e *exitWatch) rest(ctx context.Context, n cluster.NodeName) error {
	e.mu.Lock()
	left := waitAgain - time.Since(e.began[n])
	e.began[n] = time.Now().Add(max(0, left))
	e.mu.Unlock()
	if left <= 0 {
		return nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *exitWatch) wait() { e.wg.Wait() }

const (
	// healthEvery is how often members are asked whether they serve, apart from the
	// loop's interval.
	healthEvery = 2 * time.Second
	// electionEvery is how often while they have no leader, for as long as an
	// election may take: nobody can be told in Kubernetes of who died before it is
	// over, and then it is high time.
	electionEvery = 500 * time.Millisecond
	electionTakes = 20 * time.Second
)

// watchHealth wakes the loop when a member begins or ceases to serve.
func (l *Loop) watchHealth(ctx context.Context) {
	every := healthEvery
	t := time.NewTicker(every)
	defer t.Stop()
	last := l.o.Etcd.Ping(ctx, l.o.Observer.Endpoints())
	changed := l.o.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if ctx.Err() != nil { // both may have come
			return
		}
		now := l.o.Etcd.Ping(ctx, l.o.Observer.Endpoints())
		if ctx.Err() == nil && !maps.Equal(now, last) {
			l.silenced(now)
			l.Wake()
			changed = l.o.Now()
		}
		last = now
		if pace := paceFor(now, l.o.Now().Sub(changed)); pace != every {
			every = pace
			t.Reset(every)
		}
	}
}

// paceFor is how soon members are asked again that were felt so, and the same for a
// while.
func paceFor(felt map[etcd.Endpoint]etcd.Pulse, since time.Duration) time.Duration {
	if leaderless(felt) && since < electionTakes {
		return electionEvery
	}
	return healthEvery
}

func leaderless(felt map[etcd.Endpoint]etcd.Pulse) bool {
	for _, p := range felt {
		if p == etcd.Leaderless {
			return true
		}
	}
	return false
}

// silenced withdraws the endpoints of members that no longer answer, ahead of the
// look that finds out more: it waits for them once again. Only a look brings an
// endpoint back.
func (l *Loop) silenced(felt map[etcd.Endpoint]etcd.Pulse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.view
	v.Endpoints = slices.Clone(v.Endpoints)
	fell := false
	for i := range v.Endpoints {
		e := &v.Endpoints[i]
		pulse, asked := felt[etcd.Endpoint(cluster.Node{Address: e.Address}.ClientURL())]
		if asked && pulse == etcd.Silent && e.Serving {
			e.Ready, e.Serving, fell = false, false, true
		}
	}
	if fell {
		v.Seq++
		l.show(v)
	}
}
