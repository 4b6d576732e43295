package kube

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
)

const (
	// lookEvery is how often the files of a kubeconfig are read for changes.
	lookEvery = 3 * time.Second
	// restless: credentials that were refused are not asked for anew sooner.
	restless = 5 * time.Second
)

// Publisher keeps one cluster's objects in one Kubernetes.
type Publisher struct {
	o       Options
	wanting chan struct{} // an Export has come

	mu      sync.Mutex
	export  Export
	version uint64 // of export; 0 before the first
	good    []cluster.Endpoint
	live    map[key]*unstructured.Unstructured
	board   board
	keepers map[key]*keeper
	told    told
}

// told is what Changed was last called for.
type told struct {
	published  cluster.Published
	conditions []cluster.Condition
}

// same leaves the wording out: an error's may be another each time, and who is
// told looks at every machine.
func (t told) same(o told) bool {
	worded := func(a, b cluster.Condition) bool {
		a.Text, a.Hint, b.Text, b.Hint = "", "", "", ""
		return a == b
	}
	a, b := t.published, o.published
	return a.Wanted == b.Wanted && a.Unknown == b.Unknown && (a.Trouble == "") == (b.Trouble == "") &&
		slices.Equal(a.Ready, b.Ready) && slices.EqualFunc(t.conditions, o.conditions, worded)
}

// New makes a Publisher that does nothing before Run.
func New(o Options) *Publisher {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Until == nil {
		o.Until = func() time.Time { return time.Time{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Recorded == nil {
		o.Recorded = func(string, error) {}
	}
	if o.Forget == nil {
		o.Forget = func(context.Context, cluster.Bundle) error { return nil }
	}
	p := &Publisher{
		o: o, wanting: make(chan struct{}, 1), board: newBoard(),
		live: map[key]*unstructured.Unstructured{}, keepers: map[key]*keeper{},
	}
	p.told = p.tell()
	return p
}

// Want says what is to be in Kubernetes. The newest counts; it never blocks.
func (p *Publisher) Want(e Export) {
	e.Endpoints, e.Bundles = slices.Clone(e.Endpoints), slices.Clone(e.Bundles)
	for i := range e.Bundles {
		if e.Bundles[i].TTL <= 0 {
			e.Bundles[i].TTL = cluster.DefaultBundleTTL
		}
	}
	p.mu.Lock()
	if p.version > 0 && reflect.DeepEqual(p.export, e) {
		p.mu.Unlock()
		return
	}
	p.export = e
	p.version++
	if ok, _ := accepted(e.Endpoints); anyReady(ok) {
		p.good = e.Endpoints
	}
	for _, k := range p.keepers {
		k.poke()
	}
	p.mu.Unlock()
	select {
	case p.wanting <- struct{}{}:
	default:
	}
	p.settle()
}

// Published is what Kubernetes tells clients now, as far as is known.
func (p *Publisher) Published() cluster.Published {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tell().published
}

// Conditions says how each thing stands, by subject: "endpoints", "secret
// shop/etcd". A subject with several faults has several.
func (p *Publisher) Conditions() []cluster.Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tell().conditions
}

// tell wants the lock.
func (p *Publisher) tell() told {
	pub := cluster.Published{Wanted: true, Trouble: p.board.trouble()}
	var ready []netip.Addr
	for _, k := range []key{sliceKey(), ipv6SliceKey()} {
		for _, l := range listedIn(p.live[k]) {
			if l.ready {
				ready = append(ready, l.address)
			}
		}
	}
	slices.SortFunc(ready, netip.Addr.Compare)
	pub.Ready = slices.Compact(ready)
	if pub.Trouble == "" && !p.board.complete() {
		pub.Unknown, pub.Trouble = true, "Kubernetes has not answered yet"
	}
	return told{pub, p.board.conditions()}
}

func endpointKeys() []key {
	return []key{serviceKey(), endpointsKey(), sliceKey(), ipv6SliceKey()}
}

// settle tells of what has changed. It wants the lock free.
func (p *Publisher) settle() {
	p.mu.Lock()
	now := p.o.Now()
	if faults := p.viewLocked(sliceKey()).faults(); p.version > 0 && len(faults) > 0 {
		p.board.say(subjectEndpoints, sourceExport, faults, now)
	} else {
		p.board.unsay(subjectEndpoints, sourceExport, now)
	}
	t := p.tell()
	changed := !t.same(p.told)
	p.told = t
	p.mu.Unlock()
	if changed {
		p.o.Changed()
	}
}

// view is what a decision about k rests on.
func (p *Publisher) view(k key) view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.viewLocked(k)
}

func (p *Publisher) viewLocked(k key) view {
	v := view{export: p.export, version: p.version, good: p.good, live: map[key]*unstructured.Unstructured{}}
	for _, k := range append(endpointKeys(), k) {
		if o, known := p.live[k]; known {
			v.live[k] = o
		}
	}
	return v
}

// learn takes an object as it is now, nil when there is none.
func (p *Publisher) learn(k key, live *unstructured.Unstructured) {
	p.mu.Lock()
	if p.keepers[k] != nil { // one that was dismissed has no say
		p.live[k] = live
	}
	if k.kind == sliceKind() { // each slice may wait for the other
		for other, keeper := range p.keepers {
			if other.kind == sliceKind() && other != k {
				keeper.poke()
			}
		}
	}
	p.mu.Unlock()
	p.settle()
}

// report takes what a keeper says of its object.
func (p *Publisher) report(k key, faults []fault) {
	p.mu.Lock()
	if p.keepers[k] != nil {
		p.board.say(subjectOf(k), k.String(), faults, p.o.Now())
	}
	p.mu.Unlock()
	p.settle()
}
