package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
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

// fakeHost is one machine; each of its answers takes `takes`.
type fakeHost struct {
	host.Host // what no test here asks for
	w         *world
	facts     host.Facts
	takes     time.Duration
	deaf      time.Duration // how long it goes on after its caller has given up
	down      error         // nothing answers
	full      error         // what is started ends so
	lies      bool          // it says of a process that runs that it has ended
	unitless  error         // what comes of each unit that is to be installed
	calls     map[string]int
	under     int
	ended     chan struct{} // closed and replaced when the process begins or ends
}

func (h *fakeHost) put(files map[host.FileKind][]byte) {
	for k, b := range files {
		if k == host.ServerKey || k == host.PeerKey {
			h.facts.KeyFits[k] = true
			continue
		}
		h.facts.Public[k] = b
	}
}

// call takes its time and then does its work under the world's lock.
func (h *fakeHost) call(ctx context.Context, verb string, do func() error) error {
	h.w.mu.Lock()
	takes, deaf, down := h.takes, h.deaf, h.down
	h.calls[verb]++
	h.under++
	h.w.mu.Unlock()
	var err error
	select {
	case <-after(takes):
	case <-ctx.Done():
		pass(deaf)
		err = ctx.Err()
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.under--
	if err = errors.Join(down, err); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return do()
}

func (h *fakeHost) running(is bool) {
	u := *h.facts.Unit
	u.Running = is
	if h.facts.Unit = &u; is {
		u.Started = &u.Unit
	}
	close(h.ended)
	h.ended = make(chan struct{})
}

func (h *fakeHost) Facts(ctx context.Context, _ string, _ netip.Addr) (f host.Facts, err error) {
	return f, h.call(ctx, "facts", func() error {
		f = h.facts
		f.Data = slices.Clone(f.Data)
		if f.Unit != nil {
			u := *f.Unit
			f.Unit = &u
		}
		f.KeyFits, f.Public = map[host.FileKind]bool{}, map[host.FileKind][]byte{}
		for k, v := range h.facts.KeyFits {
			f.KeyFits[k] = v
		}
		for k, v := range h.facts.Public {
			f.Public[k] = v
		}
		return nil
	})
}

func (h *fakeHost) Progress(ctx context.Context, _ string, _ cluster.MemberID) (uint64, error) {
	return 0, h.call(ctx, "progress", func() error { return nil })
}

func (h *fakeHost) Sends(ctx context.Context, _ string, _, _ cluster.MemberID) (bool, error) {
	return true, h.call(ctx, "sends", func() error { return nil })
}

func (h *fakeHost) PutFiles(ctx context.Context, req host.PutFiles) error {
	return h.call(ctx, "put-files", func() error { h.put(req.Files); return nil })
}

func (h *fakeHost) InstallUnit(ctx context.Context, u cluster.Unit) error {
	return h.call(ctx, "install-unit", func() error {
		if h.unitless != nil {
			return h.unitless
		}
		us := cluster.UnitState{}
		if h.facts.Unit != nil {
			us = *h.facts.Unit
		}
		us.Unit, us.Unfinished = u, false
		h.facts.Unit = &us
		return nil
	})
}

func (h *fakeHost) StartUnit(ctx context.Context, _ string, id cluster.MemberID) error {
	return h.call(ctx, "start-unit", func() error {
		if h.full != nil {
			return h.full
		}
		h.facts.Unit.Sealed = true
		h.facts.Data = []cluster.DataDir{{Member: id, WAL: true, Mark: true}}
		h.running(true)
		return nil
	})
}

func (h *fakeHost) StopUnit(ctx context.Context, _ host.StopUnit) error {
	return h.call(ctx, "stop-unit", func() error { h.running(false); return nil })
}

func (h *fakeHost) RetireUnit(ctx context.Context, _ string, _ cluster.MemberID) error {
	return h.call(ctx, "retire-unit", func() error { h.facts.Unit, h.facts.Data = nil, nil; return nil })
}

func (h *fakeHost) Clean(ctx context.Context, _ string) error {
	return h.call(ctx, "clean", func() error { return nil })
}

func (h *fakeHost) WaitUnit(ctx context.Context, _ string, running bool) error {
	if err := h.call(ctx, "wait-unit", func() error { return nil }); err != nil {
		return err
	}
	for {
		h.w.mu.Lock()
		is, ended, lies := h.facts.Unit != nil && h.facts.Unit.Running, h.ended, h.lies
		h.w.mu.Unlock()
		if is != running || lies {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *fakeHost) Claim(context.Context) error { return nil }
func (h *fakeHost) Close() error                { return nil }

// fakeEtcd is the members: one serves while its process runs.
type fakeEtcd struct{ w *world }

func (e fakeEtcd) node(peerURL string) (cluster.Node, bool) {
	for _, n := range e.w.wanted.Nodes() {
		if n.PeerURL() == peerURL {
			return n, true
		}
	}
	return cluster.Node{}, false
}

func (e fakeEtcd) serves(m cluster.Member) bool { return e.answers(m) && !e.w.electing }

func (e fakeEtcd) answers(m cluster.Member) bool {
	n, ok := e.node(m.PeerURL)
	if !ok {
		return false
	}
	u := e.w.hosts[n.Hostname].facts.Unit
	return u != nil && u.Running && u.Unit.Member == m.ID
}

func (e fakeEtcd) Observe(_ context.Context, eps []etcd.Endpoint, _ []cluster.Node) cluster.EtcdState {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	s := cluster.EtcdState{Asked: len(eps) > 0, ClusterID: 7}
	voters, serving, leads := 0, 0, false
	if !slices.ContainsFunc(e.w.members, func(m cluster.Member) bool { return m.ID == e.w.leader && e.serves(m) }) {
		e.w.leader = 0
	}
	for i := range e.w.members {
		m := &e.w.members[i]
		up := e.serves(*m)
		if up && m.Name == "" {
			n, _ := e.node(m.PeerURL)
			m.Name = string(n.Hostname)
		}
		seen := *m
		seen.RaftIndex, seen.RaftApplied, seen.RaftTerm = 5, 5, 1
		if n, ok := e.node(m.PeerURL); ok && slices.Contains(eps, etcd.Endpoint(n.ClientURL())) {
			seen.Healthy = up
		}
		if !m.Learner {
			voters++
			if up {
				serving++
				seen.Leader = !leads && (e.w.leader == 0 || e.w.leader == m.ID)
				leads = leads || seen.Leader
			}
		}
		s.Members = append(s.Members, seen)
	}
	if s.Quorum = s.Asked && serving >= cluster.Quorum(voters); !s.Quorum {
		s.Members = nil
	}
	s.Auth = cluster.Auth{
		Known: s.Quorum, Enabled: true,
		Users: map[string][]string{"root": {"root"}, "kube-apiserver": {"kube-apiserver"}},
		Roles: map[string][]cluster.Permission{"root": {}, "kube-apiserver": {{Key: "/registry/", RangeEnd: "/registry0", Type: "READWRITE"}}},
	}
	return s
}

func (e fakeEtcd) Ping(_ context.Context, eps []etcd.Endpoint) map[etcd.Endpoint]etcd.Pulse {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.pings++
	felt := map[etcd.Endpoint]etcd.Pulse{}
	for _, m := range e.w.members {
		n, ok := e.node(m.PeerURL)
		if ep := etcd.Endpoint(n.ClientURL()); ok && slices.Contains(eps, ep) {
			felt[ep] = etcd.Silent
			switch {
			case e.serves(m):
				felt[ep] = etcd.Serving
			case e.answers(m):
				felt[ep] = etcd.Leaderless
			}
		}
	}
	return felt
}

func (e fakeEtcd) Keep([]string) {}

func (e fakeEtcd) AskAnew([]etcd.Endpoint) {}

func (e fakeEtcd) change(do func()) error {
	e.w.do(func() {
		e.w.under++
		e.w.most = max(e.w.most, e.w.under)
	})
	pass(e.w.changing)
	e.w.do(func() {
		e.w.under--
		do()
	})
	return nil
}

func (e fakeEtcd) AddLearner(_ context.Context, _ etcd.Endpoint, peerURL string) (id cluster.MemberID, err error) {
	if time.Now().Before(e.w.refuses) {
		return 0, fmt.Errorf("add learner: %w", context.DeadlineExceeded) // as transient as etcd's own
	}
	return id, e.change(func() {
		e.w.nextID++
		id = e.w.nextID
		e.w.members = append(e.w.members, cluster.Member{ID: id, PeerURL: peerURL, Learner: true})
	})
}

func (e fakeEtcd) Promote(_ context.Context, _ etcd.Endpoint, id cluster.MemberID) error {
	return e.change(func() {
		for i := range e.w.members {
			if e.w.members[i].ID == id {
				e.w.members[i].Learner = false
			}
		}
	})
}

func (e fakeEtcd) Remove(_ context.Context, _ etcd.Endpoint, id cluster.MemberID) error {
	return e.change(func() {
		e.w.members = slices.DeleteFunc(e.w.members, func(m cluster.Member) bool { return m.ID == id })
	})
}

func (e fakeEtcd) MoveLeader(_ context.Context, _ etcd.Endpoint, to cluster.MemberID) error {
	return e.change(func() { e.w.leader = to })
}

func (e fakeEtcd) Auth(context.Context, etcd.Endpoint) (cluster.Auth, error) {
	return cluster.Auth{}, nil
}
func (e fakeEtcd) DeleteUser(context.Context, etcd.Endpoint, string) error { return nil }
func (e fakeEtcd) DeleteRole(context.Context, etcd.Endpoint, string) error { return nil }
func (e fakeEtcd) AddRole(context.Context, etcd.Endpoint, string) error    { return nil }
func (e fakeEtcd) Grant(context.Context, etcd.Endpoint, string, cluster.Permission) error {
	return nil
}
func (e fakeEtcd) Revoke(context.Context, etcd.Endpoint, string, cluster.Permission) error {
	return nil
}
func (e fakeEtcd) AddUser(context.Context, etcd.Endpoint, string) error            { return nil }
func (e fakeEtcd) GrantRole(context.Context, etcd.Endpoint, string, string) error  { return nil }
func (e fakeEtcd) RevokeRole(context.Context, etcd.Endpoint, string, string) error { return nil }
func (e fakeEtcd) EnableAuth(context.Context, etcd.Endpoint) error                 { return nil }

func (e fakeEtcd) Snapshot(context.Context, etcd.Endpoint) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("no test here asks for a snapshot")
}
func (e fakeEtcd) ValidateDowngrade(context.Context, etcd.Endpoint, string) error { return nil }
func (e fakeEtcd) EnableDowngrade(context.Context, etcd.Endpoint, string) error   { return nil }
func (e fakeEtcd) CancelDowngrade(context.Context, etcd.Endpoint) error           { return nil }

type fakeStore struct{ w *world }

func (s fakeStore) Load(context.Context, string) (Wanted, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.loads++
	return s.w.wanted, nil
}

func (s fakeStore) Append(ctx context.Context, r record.Record) (record.Record, error) {
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r.Seq = int64(len(s.w.records) + 1)
	s.w.records = append(s.w.records, r)
	return r, nil
}

func (s fakeStore) Amend(_ context.Context, r record.Record) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.records[r.Seq-1] = r
	return nil
}

func (s fakeStore) Bootstrap(context.Context, string) (b cluster.Bootstrap, err error) {
	s.w.do(func() { b = s.w.wanted.Bootstrap })
	return b, nil
}

func (s fakeStore) AdvanceBootstrap(_ context.Context, _ string, from cluster.Phase, b cluster.Bootstrap) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.wanted.Bootstrap.Phase != from {
		return fmt.Errorf("the phase is %s", s.w.wanted.Bootstrap.Phase)
	}
	s.w.wanted.Bootstrap = b
	for _, f := range b.Founders {
		if from == cluster.PhaseNew {
			s.w.members = append(s.w.members, cluster.Member{ID: f.Member, PeerURL: f.Node.PeerURL()})
		}
	}
	return nil
}

func (s fakeStore) ForgetLeaving(_ context.Context, _ string, n cluster.NodeName) error {
	s.w.do(func() {
		s.w.wanted.Leaving = slices.DeleteFunc(slices.Clone(s.w.wanted.Leaving), func(l cluster.Node) bool { return l.Hostname == n })
	})
	return nil
}

func (s fakeStore) ForgetUser(_ context.Context, _ string, u cluster.RemovedUser) error {
	s.w.do(func() {
		s.w.wanted.RemovedUsers = slices.DeleteFunc(slices.Clone(s.w.wanted.RemovedUsers), func(r cluster.RemovedUser) bool { return r == u })
	})
	return nil
}

func (s fakeStore) PutRestart(_ context.Context, _ string, r cluster.Restart) error {
	s.w.do(func() { s.w.wanted.Restart = &r })
	return nil
}

func (s fakeStore) PutSnapshot(_ context.Context, _ string, snap cluster.Snapshot) error {
	s.w.do(func() { s.w.wanted.Snapshot = &snap })
	return nil
}

func (s fakeStore) DropRestart(_ context.Context, _ string, _ cluster.Restart) error {
	s.w.do(func() { s.w.wanted.Restart = nil })
	return nil
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
