package faults

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/test/drive"
	"cke/test/faults/history"
)

const (
	callTimeout = 2 * time.Second
	logPrefix   = "/t" // of all tenants' prefixes
	tenantCount = 3
	keyCount    = 4 // of a tenant, which its clients share
	opEvery     = 50 * time.Millisecond
)

// clients are the tenants of a cluster at work, and one who tries their keys.
type clients struct {
	t   *testing.T
	in  *drive.Installation
	rec *history.Recorder
	// patience is how long the end waits for what may not come.
	patience time.Duration
	// first is the store's revision before any of them.
	first     int64
	addresses []string
	all       []*tenant
	filler    *clientv3.Client // of the user that fills the quota
	reader    reader
	// compactions are those that the suite has asked for.
	compactions []history.Gap
	gate        gate

	ctx               context.Context // until all is over
	stopWork, stopAll context.CancelFunc
	work, rest        sync.WaitGroup
	conns             []*clientv3.Client
}

// tenant is an etcd user with its prefix.
type tenant struct {
	name, prefix string
	tls          *tls.Config
	watches      []*history.Watch
	mark         *clientv3.Client
	held         atomic.Int64 // a lease with a key of the tenant's on it, or 0
}

// startClients makes the users and sets them to work.
func startClients(t *testing.T, in *drive.Installation, rec *history.Recorder, addresses ...string) *clients {
	t.Helper()
	work, stopWork := context.WithCancel(context.Background())
	all, stopAll := context.WithCancel(context.Background())
	c := &clients{t: t, in: in, rec: rec, patience: time.Minute, addresses: addresses, ctx: all, stopWork: stopWork, stopAll: stopAll}
	t.Cleanup(c.close)
	root := c.root()
	in.Eventually("the store's revision", func() error {
		ctx, cancel := context.WithTimeout(all, callTimeout)
		defer cancel()
		resp, err := root.Get(ctx, logPrefix)
		if err == nil {
			c.first = resp.Header.Revision
		}
		return err
	})
	c.reader.next = c.first + 1
	for i := 1; i <= tenantCount; i++ {
		tn := &tenant{name: fmt.Sprintf("t%d", i)}
		tn.prefix = "/" + tn.name + "/"
		in.CLI("etcd", "user-add", tn.name, tn.prefix)
		tn.tls = drive.TLS(t, in.UserCert(tn.name))
		for _, who := range []string{"watch", "watch2"} { // what one is cut off from at a compaction the other may be told
			tn.watches = append(tn.watches, rec.Watch(tn.name+"/"+who, tn.prefix, c.first+1))
		}
		tn.mark = c.connect(all, tn.tls, addresses)
		c.all = append(c.all, tn)
	}
	for _, tn := range c.all {
		for _, w := range tn.watches {
			watcher := c.connect(all, tn.tls, addresses)
			c.rest.Go(func() { c.follow(all, watcher, tn, w) })
		}
		for _, who := range []string{"a", "b"} {
			w := c.worker(all, tn, who, addresses)
			c.work.Go(func() { w.readAndWrite(work) })
		}
		w := c.worker(all, tn, "lease", addresses)
		c.work.Go(func() { w.lease(work) })
	}
	in.CLI("etcd", "user-add", "probe", "/probe/")
	p := &prober{rec: rec, client: c.connect(all, drive.TLS(t, in.UserCert("probe")), addresses), tenants: c.all}
	c.work.Go(func() { p.try(work) })
	c.startFiller()
	return c
}

// root is a client whose certificate is good for two hours.
func (c *clients) root() *clientv3.Client {
	c.t.Helper()
	return c.connect(c.ctx, drive.TLS(c.t, c.in.RootCert()), c.addresses)
}

// connect makes a client that sends nothing twice and follows the membership.
func (c *clients) connect(ctx context.Context, tls *tls.Config, addresses []string) *clientv3.Client {
	c.t.Helper()
	eps := make([]string, len(addresses))
	for i, a := range addresses {
		eps[i] = "https://" + a + ":2379"
	}
	cl, err := clientv3.New(clientv3.Config{
		Endpoints: eps, TLS: tls, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), MaxUnaryRetries: 1,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.conns = append(c.conns, cl)
	c.rest.Go(func() {
		again := time.NewTicker(time.Second)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			s, cancel := context.WithTimeout(ctx, callTimeout)
			_ = cl.Sync(s) // tried again in a moment
			cancel()
		}
	})
	return cl
}

func (c *clients) close() {
	c.stopWork()
	c.stopAll()
	for _, cl := range c.conns {
		_ = cl.Close() // its members may be gone
	}
	c.work.Wait()
	c.rest.Wait()
}

// worker is one client of a tenant.
type worker struct {
	*tenant
	name string
	rec  *history.Recorder
	c    *clientv3.Client
	r    *rand.Rand
	mod  map[string]int64 // what it last saw, for compare-and-swap
}

func (c *clients) worker(ctx context.Context, tn *tenant, who string, addresses []string) *worker {
	return &worker{
		tenant: tn, name: tn.name + "/" + who, rec: c.rec, c: c.connect(ctx, tn.tls, addresses),
		r:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		mod: map[string]int64{},
	}
}

// readAndWrite goes on until ctx ends. An operation that has begun is finished.
func (w *worker) readAndWrite(ctx context.Context) {
	t := time.NewTicker(opEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		key := keyOf(w.prefix, w.r.IntN(keyCount), w.rec.Now())
		switch n := w.r.IntN(20); {
		case n < 8:
			w.get(key)
		case n < 14:
			w.put(key, 0)
		case n < 19:
			w.swap(key)
		default:
			w.remove(key)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// keyOf has other keys every few minutes, for the search of an order grows with the
// operations on one.
func keyOf(prefix string, n int, now time.Duration) string {
	return fmt.Sprintf("%sk%d.%d", prefix, n, now/(3*time.Minute))
}

// do calls etcd, and records what was asked and answered.
func (w *worker) do(o history.Op, call func(ctx context.Context, o *history.Op) error) history.Op {
	o.ID, o.Client = w.rec.ID(), w.name
	if o.Kind == history.Put || o.Kind == history.CAS || o.Kind == history.Delete {
		o.Value = fmt.Sprintf("v%d", o.ID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	o.Call = w.rec.Now()
	err := call(ctx, &o)
	o.Return = w.rec.Now()
	o.Outcome = history.OK
	if err != nil {
		o.Error, o.Outcome = err.Error(), history.Unknown
		switch {
		case errors.Is(err, rpctypes.ErrNoSpace):
			o.Outcome = history.Full
		case refused(err):
			o.Outcome = history.Refused
		}
	}
	w.rec.Op(o)
	return o
}

// refused says whether an error is of those after which nothing was done.
func refused(err error) bool {
	for _, certain := range []error{rpctypes.ErrPermissionDenied, rpctypes.ErrLeaseNotFound, rpctypes.ErrCorrupt, rpctypes.ErrTooManyRequests} {
		if errors.Is(err, certain) {
			return true
		}
	}
	return false
}

func (w *worker) get(key string) history.Op {
	return w.do(history.Op{Kind: history.Get, Key: key}, func(ctx context.Context, o *history.Op) error {
		resp, err := w.c.Get(ctx, key)
		if err == nil {
			o.Revision, o.Seen = resp.Header.Revision, only(resp.Kvs)
			w.saw(key, o.Seen)
		}
		return err
	})
}

func (w *worker) put(key string, lease clientv3.LeaseID) history.Op {
	return w.do(history.Op{Kind: history.Put, Key: key, Lease: int64(lease)}, func(ctx context.Context, o *history.Op) error {
		var opts []clientv3.OpOption
		if lease != 0 {
			opts = append(opts, clientv3.WithLease(lease))
		}
		resp, err := w.c.Put(ctx, key, o.Value, opts...)
		if err == nil {
			o.Revision = resp.Header.Revision
			w.mod[key] = o.Revision
		}
		return err
	})
}

func (w *worker) swap(key string) history.Op {
	return w.do(history.Op{Kind: history.CAS, Key: key, Expect: w.mod[key]}, func(ctx context.Context, o *history.Op) error {
		resp, err := w.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", o.Expect)).
			Then(clientv3.OpPut(key, o.Value)).Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return err
		}
		o.Revision, o.Succeeded = resp.Header.Revision, resp.Succeeded
		if o.Succeeded {
			w.mod[key] = o.Revision
			return nil
		}
		o.Seen = only(resp.Responses[0].GetResponseRange().Kvs)
		w.saw(key, o.Seen)
		return nil
	})
}

func (w *worker) remove(key string) history.Op {
	return w.do(history.Op{Kind: history.Delete, Key: key}, func(ctx context.Context, o *history.Op) error {
		resp, err := w.c.Txn(ctx).Then(clientv3.OpDelete(key), clientv3.OpPut(history.Marker(key), o.Value)).Commit()
		if err == nil {
			o.Revision, o.Deleted = resp.Header.Revision, resp.Responses[0].GetResponseDeleteRange().Deleted > 0
			w.mod[key] = 0
		}
		return err
	})
}

func (w *worker) saw(key string, kv *history.KV) {
	w.mod[key] = 0
	if kv != nil {
		w.mod[key] = kv.Mod
	}
}

func only(kvs []*mvccpb.KeyValue) *history.KV {
	if len(kvs) == 0 {
		return nil
	}
	kv := kvs[0]
	return &history.KV{Value: string(kv.Value), Create: kv.CreateRevision, Mod: kv.ModRevision, Version: kv.Version, Lease: kv.Lease}
}

// follow watches the tenant's prefix until ctx ends, and begins anew where it was
// when a stream ends.
func (c *clients) follow(ctx context.Context, cl *clientv3.Client, tn *tenant, w *history.Watch) {
	next := w.From
	for ctx.Err() == nil {
		c.rec.WatchStream(w)
		stream, cancel := c.gate.pass(clientv3.WithRequireLeader(ctx))
		for resp := range cl.Watch(stream, tn.prefix, clientv3.WithPrefix(), clientv3.WithRev(next)) {
			if resp.CompactRevision >= next {
				c.rec.WatchGap(w, history.Gap{From: next, To: resp.CompactRevision})
				next = resp.CompactRevision + 1
			}
			if len(resp.Events) > 0 {
				c.rec.WatchEvents(w, events(resp.Events, c.rec.Now())...)
				next = resp.Events[len(resp.Events)-1].Kv.ModRevision + 1
			}
			if err := resp.Err(); err != nil {
				c.rec.WatchEnd(w, err)
			}
		}
		cancel()
		select { // not in a hurry to a member that refuses
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func events(from []*clientv3.Event, at time.Duration) []history.Event {
	var all []history.Event
	for _, e := range from {
		all = append(all, history.Event{
			Revision: e.Kv.ModRevision, Key: string(e.Kv.Key), Value: string(e.Kv.Value),
			Deleted: e.Type == clientv3.EventTypeDelete, Lease: e.Kv.Lease, Version: e.Kv.Version, At: at,
		})
	}
	return all
}
