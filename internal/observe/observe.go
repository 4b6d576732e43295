// Package observe looks: it asks every host and every member, all at the same
// time, and puts together the State that was seen. It changes nothing and never
// fails; what could not be learnt is part of the State. A host that is slow to
// answer is not waited for: its answer counts when it comes, and meanwhile its
// last one does, unless this cke has changed something there since.
package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/pki"
)

// Wanted is what CKE's store says about one cluster.
type Wanted struct {
	Spec      cluster.Spec
	Bootstrap cluster.Bootstrap
	Users     []cluster.User
	// RemovedUsers are those that etcd may still know.
	RemovedUsers []cluster.RemovedUser
	// Bundles are the users' Secrets; nothing looks at them here.
	Bundles []cluster.Bundle
	Leaving []cluster.Node
	// Left are nodes that were cared for once; nothing looks at them.
	Left   []cluster.Node
	Paused *cluster.Pause
	// Defrag are members that a person wants defragmented.
	Defrag []cluster.DefragRequest
	// Restart is a member that is being restarted, or was rolled back.
	Restart *cluster.Restart
	// Parting is the member that a step under way takes out or stops.
	Parting *cluster.Parting
	// Snapshot was taken before a change of etcd's version.
	Snapshot *cluster.Snapshot
	// Drains are the nodes under maintenance.
	Drains []cluster.Drain
	// Reboot is which machines are to be rebooted.
	Reboot *cluster.Reboot
}

// Nodes are the spec's nodes, then the leaving ones.
func (w Wanted) Nodes() []cluster.Node {
	return append(append([]cluster.Node(nil), w.Spec.Nodes...), w.Leaving...)
}

// Hosts reaches the machine a node lives on.
type Hosts interface {
	Host(n cluster.Node) (host.Host, error)
}

// Etcd is how the members are looked at.
type Etcd interface {
	Observe(ctx context.Context, endpoints []etcd.Endpoint, nodes []cluster.Node) cluster.EtcdState
	// AskAnew has the next who asks wait for members that looks do not wait for.
	AskAnew(endpoints []etcd.Endpoint)
	// Usage estimates where the data is.
	Usage(ctx context.Context, ep etcd.Endpoint, prefixes []string) ([]cluster.PrefixUsage, error)
	// Hashes compares the voters' data.
	Hashes(ctx context.Context, members []cluster.Member, nodes []cluster.Node) []cluster.MemberHash
	// Keep closes the connections to all but these members.
	Keep(urls []string)
}

// Options for New.
type Options struct {
	Hosts     Hosts
	Etcd      Etcd
	Authority pki.Authority
	Identity  func() host.Identity
	// Releases lists the etcd binaries that can be put on hosts; nil for none.
	Releases func() []cluster.Release
	// Proves says whether a leader of this store had that epoch, by the proof that a
	// host keeps of it; nil: hosts are believed.
	Proves func(epoch int64, proof string) bool
	// Newest is shared by all observers of a daemon; nil: this one has its own.
	Newest *Newest
	// Published is what Kubernetes was told last; nil for nothing.
	Published func() cluster.Published
	// SnapshotHere says whether the file of a snapshot is on this machine; nil: it is.
	SnapshotHere func(cluster.Snapshot) bool
	// Boot is that of the machine cke runs on.
	Boot string
	Now  func() time.Time
	Log  *slog.Logger
}

// Observer observes one cluster. It is safe for concurrent use; whoever made it
// closes it.
type Observer struct {
	o    Options
	ctx  context.Context // ends with Close; questions outlive the look that asked them
	stop context.CancelFunc
	wg   sync.WaitGroup
	news chan struct{}

	mu          sync.Mutex
	machines    map[cluster.NodeName]*machine
	unreachable map[cluster.NodeName]time.Time
	unhealthy   map[cluster.MemberID]time.Time
	quorum      quorum
	// withdrawn are the members that were about to go when last looked at.
	withdrawn map[cluster.MemberID]time.Time
	// stops are those of them that were to be stopped first.
	stops map[cluster.MemberID]bool
	// endpoints are the members last known, asked even when their host's helper
	// does not answer.
	endpoints map[etcd.Endpoint]bool
	// stopped are the members without a process when their hosts were last
	// asked. A guard, which asks no host, does not wait for their answer.
	stopped map[etcd.Endpoint]bool
	// measured are the last preflights; those of nodes that are gone are dropped.
	measured map[cluster.NodeName]cluster.Measured
	heard    map[cluster.NodeName]cluster.Heard

	space    space
	hashed   hashed
	differed time.Time // when the voters' data was last seen to differ
	// members is the membership last seen, setbacks what became of those that went.
	members  []cluster.Member
	setbacks cluster.Setbacks
	// pursuits are the learners'.
	pursuits map[cluster.MemberID]pursuit
	// partaking is of voters that do not answer.
	partaking map[cluster.MemberID]*partaking
	// trail is how far the members' log had come in the last looks.
	trail cluster.Trail

	// measuring holds one token while hosts are measured: two at a time would wait
	// for each other's ports.
	measuring chan struct{}

	// judged are the certificates looked at last, by node; o.mu may be held.
	judging sync.Mutex
	judged  map[cluster.NodeName]*judgement
}

// New returns an observer that remembers nothing yet.
func New(o Options) *Observer {
	if o.Newest == nil {
		o.Newest = &Newest{}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Observer{
		o: o, ctx: ctx, stop: stop, news: make(chan struct{}, 1),
		machines: map[cluster.NodeName]*machine{}, unreachable: map[cluster.NodeName]time.Time{},
		unhealthy: map[cluster.MemberID]time.Time{}, withdrawn: map[cluster.MemberID]time.Time{}, endpoints: map[etcd.Endpoint]bool{}, stopped: map[etcd.Endpoint]bool{},
		measured: map[cluster.NodeName]cluster.Measured{}, judged: map[cluster.NodeName]*judgement{}, measuring: make(chan struct{}, 1),
	}
}

// Close ends the questions under way and returns when they have.
func (o *Observer) Close() {
	o.mu.Lock()
	o.stop()
	o.mu.Unlock()
	o.wg.Wait()
}

// News delivers when a late answer says something that the last look did not
// know.
func (o *Observer) News() <-chan struct{} { return o.news }

// Observe looks at everything, hosts and members at the same time. Members asked
// before it was known which run are asked again if it was the wrong ones.
func (o *Observer) Observe(ctx context.Context, w Wanted) cluster.State {
	st := cluster.State{
		At: o.o.Now(), Bootstrap: w.Bootstrap, Users: w.Users, RemovedUsers: w.RemovedUsers, Leaving: w.Leaving, Paused: w.Paused,
		Defrag: w.Defrag, Restart: w.Restart, Snapshot: w.Snapshot, Drains: w.Drains, Reboot: w.Reboot, OwnBoot: o.o.Boot,
		Parting: w.Parting, Epoch: o.o.Identity().Epoch,
	}
	if o.o.Releases != nil {
		st.Releases = o.o.Releases()
	}
	if w.Snapshot != nil && o.o.SnapshotHere != nil {
		st.SnapshotAway = !o.o.SnapshotHere(*w.Snapshot)
	}
	if w.Bootstrap.Phase == cluster.PhaseNew {
		st.Nodes = o.nodes(ctx, w)
		st.NewerLeader = o.newerLeader()
		return st
	}
	guess := o.askEarly(ctx, w)
	defer guess.drop()
	st.Nodes = o.nodes(ctx, w)
	st.NewerLeader = o.newerLeader()
	st.Etcd = o.conclude(w, guess.about(ctx, o.ask(w, st.Nodes)), st.At)
	o.partake(w, &st) //nolint:contextcheck // a question outlives the look that asks it
	st.Etcd.Hashes = o.hashes(ctx, w, st)
	st.Etcd.DifferedAt = o.lastDiffered()
	st.Etcd.Usage = o.usage(ctx, w, st.Etcd)
	o.mu.Lock()
	o.space.note(st.Etcd, st.At)
	st.Growth = o.space.growth()
	o.serving(st.Etcd)
	o.mu.Unlock()
	st.Published = o.published(w.Spec)
	st.Setbacks = o.knownSetbacks()
	st.Heard = o.hear(w, st)
	st.WithdrawnSince = o.withdrawnSince(w.Spec, st)
	return st
}

// Etcd asks the members only, for a guard immediately before an act.
func (o *Observer) Etcd(ctx context.Context, w Wanted) cluster.EtcdState {
	o.o.Etcd.AskAnew(o.ask(w, nil))
	return o.Serving(ctx, w)
}

// Serving is that for an act which hangs on nobody who has just been asked in vain.
func (o *Observer) Serving(ctx context.Context, w Wanted) cluster.EtcdState {
	at := o.o.Now()
	return o.conclude(w, o.o.Etcd.Observe(ctx, o.ask(w, nil), w.Nodes()), at)
}

// Node asks one host only and waits for its answer, for a step immediately
// before an act.
func (o *Observer) Node(ctx context.Context, w Wanted, n cluster.Node) cluster.NodeState {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	f, err := o.facts(ctx, w.Spec.Name, n)
	return o.state(w, n, f, err)
}

func (o *Observer) facts(ctx context.Context, clusterName string, n cluster.Node) (host.Facts, error) {
	h, err := o.o.Hosts.Host(n)
	if err != nil {
		return host.Facts{}, err
	}
	return h.Facts(ctx, clusterName, n.Address)
}

// state is a host's answer as the rules read it.
func (o *Observer) state(w Wanted, n cluster.Node, f host.Facts, err error) cluster.NodeState {
	if err != nil {
		return silent(err)
	}
	fenced, deposed := o.fenced(f)
	if deposed {
		o.o.Newest.saw(n.Hostname, f.Epoch)
	}
	certificates, apiServer := o.certificates(w.Spec, n, f), o.apiServer(w.Spec, n, f)
	return cluster.NodeState{
		Fenced: fenced, Deposed: deposed, Aside: asideNames(f), Arch: f.Arch, Boot: f.Boot, CanReboot: f.Runtime == string(cluster.RuntimeSystemd),
		Versions: f.Versions, BusyPorts: f.BusyPorts, Foreign: f.Foreign, Unit: f.Unit, Data: f.Data, Disk: f.Disk,
		Certificates: certificates.Texts(), CertificatesFail: certificates.Fail(), CertificatesBar: certificates.Bar(),
		Gateway: f.Gateway, APIServer: apiServer.Texts(), APIServerFails: apiServer.Fail(),
	}
}

// silent is the state of a host that did not answer, and why.
func silent(err error) cluster.NodeState {
	var t *host.TroubleError
	if errors.As(err, &t) {
		return cluster.NodeState{Err: t.Message, Trouble: t.Trouble, Hint: t.Hint}
	}
	// When it is tried again changes with each look; what is wrong does not.
	var u *host.UnreachableError
	if errors.As(err, &u) {
		return cluster.NodeState{Err: u.Err.Error(), Hint: u.Hint()}
	}
	// Which question it was that got no answer is of no help to who reads this.
	return cluster.NodeState{Err: strings.TrimPrefix(host.Saying(err), "facts: "+host.ErrSessionEnded.Error()+": ")}
}

// since keeps the first moment something was seen away and forgets it when back.
func since[K comparable](memory map[K]time.Time, key K, away bool, now time.Time) time.Time {
	if !away {
		delete(memory, key)
		return time.Time{}
	}
	if t, ok := memory[key]; ok {
		return t
	}
	memory[key] = now
	return now
}

func (o *Observer) fenced(f host.Facts) (why string, deposed bool) {
	me := o.o.Identity()
	switch {
	case f.StoreID != "" && f.StoreID != me.StoreID:
		return fmt.Sprintf("the host belongs to the CKE store %s, this one is %s", f.StoreID, me.StoreID), false
	case f.Epoch > me.Epoch && o.o.Proves != nil && !o.o.Proves(f.Epoch, f.Proof):
		// It refuses this cke, and that is all: one machine that lies, or whose record is
		// damaged, must not end the care for all others.
		return fmt.Sprintf("the host says that a newer leader of this store has acted on it (epoch %d, this one is %d), and has no proof of it", f.Epoch, me.Epoch), false
	case f.Epoch > me.Epoch:
		return fmt.Sprintf("a newer leader of this store has acted on the host (epoch %d, this one is %d)", f.Epoch, me.Epoch), true
	default:
		return "", false
	}
}

func asideNames(f host.Facts) []string {
	var names []string
	for _, a := range f.Aside {
		names = append(names, a.Name)
	}
	return names
}

// Deposed asks every host whether a newer leader of this store has acted on it. It
// names the host that ever said so.
func (o *Observer) Deposed(ctx context.Context, w Wanted) (cluster.NodeName, bool) {
	o.nodes(ctx, w)
	node, why := o.o.Newest.beyond(o.o.Identity().Epoch)
	return node, why != ""
}

func (o *Observer) newerLeader() string {
	_, why := o.o.Newest.beyond(o.o.Identity().Epoch)
	return why
}
