// Package sim is a world to run cke in: machines, an etcd and a store in memory,
// behind the interfaces through which the loop reaches the real ones. What is
// real: plan, observe, execute and reconcile. Nothing here ticks; what time
// brings is worked out when somebody looks, so that a world costs nothing while
// nobody does. It keeps to the time of whoever runs it, also virtual one.
//
// A world judges what is done to it: what a cke must never do is a violation,
// whether or not it did harm this time.
package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/pki"
	"cke/internal/reconcile"
)

// Options for New.
type Options struct {
	// Seed says how long each call takes, and who wins an election.
	Seed uint64
	// Cluster is its name; "main" unless set.
	Cluster string
	// Machines is how many there are: n1, n2, … at 10.net.0.1, 10.net.0.2, …
	Machines int
	// Net is the second byte of every address.
	Net byte
	// Spec is what is wanted at first; its nodes are taken from Machines. Without
	// nodes the first Members of them, or all, carry members.
	Spec cluster.Spec
	// Founded: the cluster stands already.
	Founded bool
	// Systemd: members are started again by their machines.
	Systemd bool
	// Gentle: no fault destroys the data of so many voters that there would be no
	// quorum without the processes that run.
	Gentle bool
	// Published: Kubernetes is told of the endpoints.
	Published bool
	// Authority is the cluster's; New makes one if it is nil.
	Authority *Authority
	// Interval is the loop's; 10 s unless set.
	Interval time.Duration
	// Trace keeps what happens, for Trace.
	Trace bool
	// Quiet waits until nothing moves, as synctest.Wait does: with it all that happens at
	// the same instant happens in an order that hangs on the seed alone, and Close must be
	// called. Nil: in any order.
	Quiet func()
}

// Authority is a cluster's certificate authority with what it has issued. Worlds
// of one time may share one.
type Authority struct {
	// Scratch is a directory for what its worlds have to put into files; empty: none.
	Scratch string

	pki pki.Authority

	mu     sync.Mutex
	set    map[cluster.Node]files
	image  []byte // of a snapshot
	worlds int    // that have a directory
}

// NewAuthority makes one for clusters of this name.
func NewAuthority(name string) (*Authority, error) {
	a, err := pki.NewAuthority(name, time.Now())
	return &Authority{pki: a, set: map[cluster.Node]files{}}, err
}

// World is the machines, the members and the store of one cluster.
type World struct {
	o         Options
	authority *Authority
	snapshots string // where they lie
	began     time.Time
	turns     *turns

	mu         sync.Mutex
	closed     bool
	calls      map[string]uint64
	machines   map[cluster.NodeName]*machine
	order      []cluster.NodeName
	shelf      shelf
	raft       consensus
	kube       publication
	ckes       []*CKE
	violations []Violation
	trace      []string
	ending     sync.WaitGroup
	effects    int
	// loses is the probability, in percent, that the answer to a change in etcd is
	// lost; lags is how long such a change takes.
	loses   uint64
	lags    time.Duration
	parting parting
	// skew is of the clock that the next daemon goes by.
	skew time.Duration
	// drainedAt is when each drain was asked for, whatever clock that was written by.
	drainedAt map[cluster.NodeName]time.Time
	marks     map[string]int
	// drifted: somebody has changed etcd's users behind cke's back.
	drifted  bool
	recorded map[string]int
	// interrupts: the present effect may interrupt what is served.
	interrupts bool
	// stoppedByCKE are the members that a daemon stopped and that have not served
	// since.
	stoppedByCKE map[cluster.MemberID]bool
	// failed is what the last member was rolled back from.
	failed cluster.Restart
}

// Violation is something that no cke may do.
type Violation struct {
	At   time.Duration // since the world began
	Rule string
	Text string
}

func (v Violation) String() string { return fmt.Sprintf("%s %s: %s", v.At, v.Rule, v.Text) }

// New makes a world without a cke.
func New(o Options) (*World, error) {
	if o.Cluster == "" {
		o.Cluster = "main"
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.Authority == nil {
		var err error
		if o.Authority, err = NewAuthority(o.Cluster); err != nil {
			return nil, err
		}
	}
	w := &World{
		o: o, authority: o.Authority, snapshots: o.Authority.directory(), began: time.Now(), turns: newTurns(o.Quiet), calls: map[string]uint64{}, machines: map[cluster.NodeName]*machine{},
		raft: newConsensus(time.Now()), stoppedByCKE: map[cluster.MemberID]bool{}, marks: map[string]int{}, drainedAt: map[cluster.NodeName]time.Time{},
	}
	for i := range o.Machines {
		n := cluster.Node{
			Hostname: cluster.NodeName(fmt.Sprintf("n%d", i+1)), ControlPlane: true,
			Address: netip.AddrFrom4([4]byte{10, o.Net, byte(i / 250), byte(i%250 + 1)}),
		}
		if i%2 == 1 {
			n.User = "cke" // it gets etcd from cke
		}
		w.order = append(w.order, n.Hostname)
		w.machines[n.Hostname] = newMachine(w, n)
	}
	spec := o.Spec
	spec.Name = o.Cluster
	if len(spec.Nodes) == 0 {
		for _, name := range w.order {
			spec.Nodes = append(spec.Nodes, w.machines[name].node)
		}
	}
	w.shelf.spec = spec.WithDefaults()
	for _, n := range spec.Nodes {
		w.machines[n.Hostname].node.Gateway = n.Gateway
	}
	if o.Founded {
		if err := w.found(); err != nil {
			return nil, err
		}
	}
	if o.Quiet != nil {
		w.ending.Go(w.turns.run)
	}
	return w, nil
}

// Close ends the daemons and all else that goes on, and returns when it has.
func (w *World) Close() {
	w.mu.Lock()
	ckes := slices.Clone(w.ckes)
	w.mu.Unlock()
	for _, c := range ckes {
		c.end()
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.turns.end()
	w.ending.Wait()
	if w.snapshots != "" {
		_ = os.RemoveAll(w.snapshots) // whoever made Scratch removes what is left
	}
}

// Authority is what the members' certificates come from.
func (w *World) Authority() pki.Authority { return w.authority.pki }

// Violations are what was done that must never be.
func (w *World) Violations() []Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

// Trace is what happened, a line each.
func (w *World) Trace() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.trace)
}

// Effects is how many changes were made through cke.
func (w *World) Effects() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects
}

// do changes the world, which has come to the present before and settles after.
func (w *World) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	f()
	w.settle()
	w.inspect()
}

// after changes the world some time from now, unless it has ended by then. The
// caller holds the lock.
func (w *World) after(d time.Duration, what string, f func()) {
	time.AfterFunc(d, func() {
		w.turn(what)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closed {
			return
		}
		w.advance()
		f()
		w.settle()
		w.inspect()
	})
}

func (w *World) age() time.Duration { return time.Since(w.began) }

func (w *World) logf(format string, args ...any) {
	if w.o.Trace {
		w.trace = append(w.trace, fmt.Sprintf("%12s  ", w.age())+fmt.Sprintf(format, args...))
	}
}

func (w *World) violate(rule, format string, args ...any) {
	v := Violation{w.age(), rule, fmt.Sprintf(format, args...)}
	w.logf("VIOLATION %s: %s", v.Rule, v.Text)
	if len(w.violations) < maxViolations {
		w.violations = append(w.violations, v)
	}
}

// maxViolations bounds what is kept of a world gone wrong.
const maxViolations = 20

// chance draws a number for the nth time something happens. It hangs on nothing
// else, so that calls that are made side by side may come in any order. The
// caller holds the lock.
func (w *World) chance(what string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(what)) // a hash takes everything
	w.calls[what]++
	return rand.New(rand.NewPCG(w.o.Seed^h.Sum64(), w.calls[what])) //nolint:gosec // no secret
}

// between is a time from a range, to the nanosecond, so that hardly ever two
// things happen at once. The caller holds the lock.
func (w *World) between(what string, least, most time.Duration) time.Duration {
	return least + time.Duration(w.chance(what).Int64N(int64(most-least)))
}

// all are the machines, in order.
func (w *World) all() []*machine {
	ms := make([]*machine, len(w.order))
	for i, n := range w.order {
		ms[i] = w.machines[n]
	}
	return ms
}

func (w *World) at(n cluster.Node) *machine {
	if m := w.machines[n.Hostname]; m != nil && m.node.Address == n.Address {
		return m
	}
	return nil
}

func (w *World) byClientURL(url string) *machine {
	for _, m := range w.machines {
		if m.clientURL == url {
			return m
		}
	}
	return nil
}

func (w *World) byPeerURL(url string) *machine {
	for _, m := range w.machines {
		if m.peerURL == url {
			return m
		}
	}
	return nil
}

// found lets the cluster stand as if it always had.
func (w *World) found() error {
	spec := w.shelf.spec
	b := cluster.Bootstrap{Phase: cluster.PhaseBootstrapped, Token: "token", ClusterID: clusterID("token")}
	var cfg config
	for _, n := range spec.Nodes[:spec.WantedVoters()] {
		id := cluster.BootstrapMemberID(b.Token, n.PeerURL())
		b.Founders = append(b.Founders, cluster.Founder{Node: n, Member: id})
		cfg = append(cfg, peer{id: id, name: string(n.Hostname), url: n.PeerURL()})
	}
	w.shelf.boot = b
	const entries = 5000
	for i, p := range cfg {
		m := w.machines[b.Founders[i].Node.Hostname]
		set, err := w.authority.files(spec, b.Founders[i].Node)
		if err != nil {
			return err
		}
		u := cluster.Unit{Cluster: w.o.Cluster, Node: m.node.Hostname, Member: p.id, Address: m.node.Address, Version: spec.Etcd.Version, Quota: spec.Etcd.Quota}
		if m.files, m.unit, m.runs = set, &u, 1; m.node.Remote() {
			m.versions = []string{spec.Etcd.Version}
		}
		m.keep(u)
		m.seals[p.id] = true
		m.dirs[p.id] = &replica{mark: true, index: entries, cfg: cfg, token: b.Token, size: 60 << 20, storage: cluster.MinorOf(u.Version), ran: u.Version}
		m.proc = &process{replica: m.dirs[p.id], unit: u, up: w.began.Add(-time.Hour), met: w.began.Add(-time.Hour)}
		w.raft.ran[p.id] = true
	}
	w.raft.acked, w.raft.agreed, w.raft.token = entries, cfg, b.Token
	w.raft.line.version = cluster.MinorOf(spec.Etcd.Version)
	w.raft.auth = rightAuth(nil)
	w.raft.elected(w.machines[b.Founders[0].Node.Hostname].proc)
	return nil
}

// files are a member's certificates, made once for each node.
func (a *Authority) files(spec cluster.Spec, n cluster.Node) (files, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f, ok := a.set[n]; ok {
		return f, nil
	}
	set, err := a.pki.MemberSet(spec, n, time.Now())
	if err != nil {
		return files{}, err
	}
	f := newFiles(fileSet(set))
	a.set[n] = f
	return f, nil
}

// View is what the newest cke's loop saw last.
func (w *World) View() reconcile.View {
	w.mu.Lock()
	var loop *reconcile.Loop
	if n := len(w.ckes); n > 0 {
		loop = w.ckes[n-1].loop
	}
	w.mu.Unlock()
	if loop == nil {
		return reconcile.View{}
	}
	v, _ := loop.View()
	return v
}

func sortedIDs[V any](m map[cluster.MemberID]V) []cluster.MemberID {
	return slices.Sorted(maps.Keys(m))
}
