package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/pki"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/internal/units"
)

// world is hosts, members and a store in memory, to inject slowness into. The
// real parts have tests of their own.
type world struct {
	mu       sync.Mutex
	hosts    map[cluster.NodeName]*fakeHost
	members  []cluster.Member
	wanted   Wanted
	records  []record.Record
	loads    int
	pings    int
	nextID   cluster.MemberID
	leader   cluster.MemberID // the first that serves, if it does not
	electing bool             // nobody leads, so that those that run answer and do not serve
	// changing is how long a change of the membership takes; under how many are
	// under way, most how many ever were.
	changing    time.Duration
	refuses     time.Time // until then etcd adds nobody
	under, most int
	authority   pki.Authority
	kube        kubernetes
}

func newWorld(t testing.TB, nodes, voters int) *world {
	authority, err := pki.NewAuthority("main", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{hosts: map[cluster.NodeName]*fakeHost{}, nextID: 100, authority: authority}
	w.wanted.Spec = cluster.Spec{Name: "main", ClusterDomain: "cluster.local", Etcd: cluster.Etcd{
		Version: "3.7.3", Members: voters, ReplaceAfter: units.Duration(5 * time.Minute), Quota: 8 << 30,
	}}.WithDefaults()
	w.wanted.Bootstrap = cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, Token: "t", ClusterID: 7}
	for i := range nodes {
		n := cluster.Node{
			Hostname: cluster.NodeName(fmt.Sprintf("n%d", i)), ControlPlane: true,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}),
		}
		w.wanted.Spec.Nodes = append(w.wanted.Spec.Nodes, n)
		h := &fakeHost{w: w, facts: host.Facts{Versions: []string{"3.7.3"}, KeyFits: map[host.FileKind]bool{}, Public: map[host.FileKind][]byte{}}, calls: map[string]int{}, ended: make(chan struct{})}
		w.hosts[n.Hostname] = h
		if i >= voters {
			continue
		}
		id := cluster.MemberID(i + 1)
		w.members = append(w.members, cluster.Member{ID: id, Name: string(n.Hostname), PeerURL: n.PeerURL()})
		u := cluster.Unit{Cluster: "main", Node: n.Hostname, Member: id, Address: n.Address, Version: "3.7.3", Quota: 8 << 30}
		h.facts.Unit = &cluster.UnitState{Unit: u, Running: true, Started: &u, Sealed: true}
		h.facts.Data = []cluster.DataDir{{Member: id, WAL: true, Mark: true}}
		set, err := authority.MemberSet(w.wanted.Spec, n, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		h.put(map[host.FileKind][]byte{
			host.ServerCert: set.ServerCert, host.ServerKey: set.ServerKey, host.PeerCert: set.PeerCert, host.PeerKey: set.PeerKey,
			host.ClientCA: set.ClientCA, host.PeerCA: set.PeerCA, host.ClientCRL: set.CRL,
		})
	}
	return w
}

// begin starts a loop; end, which is called at the test's end too, ends it and
// returns when nothing of it runs any more.
func (w *world) begin(t *testing.T) (l *Loop, end func()) {
	log := slog.New(slog.DiscardHandler)
	observer := observe.New(observe.Options{
		Hosts: w, Etcd: fakeEtcd{w}, Authority: w.authority, Identity: func() host.Identity { return host.Identity{} }, Now: time.Now, Log: log,
		Published: w.published,
	})
	l = New(Options{
		Cluster: "main", Store: fakeStore{w}, Observer: observer, Etcd: fakeEtcd{w}, Hosts: w,
		Executor: execute.New(execute.Options{
			Cluster: "main", Store: fakeStore{w}, Hosts: w, Etcd: fakeEtcd{w}, Observer: observer, Authority: w.authority, Now: time.Now, Log: log,
		}),
		Interval: 10 * time.Second, Now: time.Now, Log: log,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	if w.kube.lag > 0 {
		wg.Go(func() { w.publish(ctx, l) })
	}
	end = func() {
		cancel()
		wg.Wait()
		observer.Close()
	}
	t.Cleanup(end)
	return l, end
}

func (w *world) Host(n cluster.Node) (host.Host, error) { return w.hosts[n.Hostname], nil }

// do changes the world.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) looks() (n int) {
	w.do(func() { n = w.loads })
	return n
}

func (w *world) calls(node cluster.NodeName, verb string) (n int) {
	w.do(func() { n = w.hosts[node].calls[verb] })
	return n
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-after(d) }

// after is time.After. A timer that is due at once crashes Go 1.26's race detector in a
// bubble now and then, so none is made.
func after(d time.Duration) <-chan time.Time {
	if d > 0 {
		return time.After(d)
	}
	now := make(chan time.Time)
	close(now)
	return now
}

// until waits until something is so and says how long that took.
func (w *world) until(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for is := false; ; pass(time.Millisecond) {
		if w.do(func() { is = ok() }); is {
			return time.Since(began)
		}
		if time.Since(began) > within {
			break
		}
	}
	w.do(func() {
		for _, r := range w.records {
			t.Logf("%s %s %s %s (%d ms)", r.At.Format("05.000"), r.What(), r.Outcome, r.Error, r.TookMS)
		}
	})
	t.Fatalf("%s: not within %s", what, within)
	return 0
}

// begun are the records of a kind of step.
func (w *world) begun(k plan.Kind) []record.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rs []record.Record
	for _, r := range w.records {
		if r.Step != nil && r.Step.Kind == k {
			rs = append(rs, r)
		}
	}
	return rs
}
