package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/api"
)

// tlsOf makes a client's TLS from an issued certificate.
func tlsOf(t *testing.T, c api.Certificate) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CACertificate)) {
		t.Fatal("no CA certificate in the answer")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// connect makes an etcd client for these nodes.
func (e *env) connect(c api.Certificate, nodes ...int) *clientv3.Client {
	e.t.Helper()
	var eps []string
	for _, i := range nodes {
		eps = append(eps, "https://"+e.addr(i)+":2379")
	}
	cl, err := clientv3.New(clientv3.Config{
		Endpoints: eps, TLS: tlsOf(e.t, c), DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = cl.Close() }) // its members may be gone
	return cl
}

func (e *env) rootCert() api.Certificate {
	e.t.Helper()
	return decode[api.Certificate](e.t, e.cli("etcd", "root-issue"))
}

func (e *env) userCert(user string) api.Certificate {
	e.t.Helper()
	return decode[api.Certificate](e.t, e.cli("etcd", "issue", user))
}

// writer writes about 100 keys a second as a tenant and remembers each
// acknowledged one. It follows the membership, as an application that resolves
// its endpoints anew would.
type writer struct {
	e      *env
	c      *clientv3.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	acked  []int
	failed []error
	reads  []error // linearizable reads that failed
}

const writeEvery = 10 * time.Millisecond

// startWriter needs user app with prefix /app/.
func (e *env) startWriter(nodes ...int) *writer {
	e.t.Helper()
	w := &writer{e: e, c: e.connect(e.userCert("app"), nodes...)}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.wg.Go(func() { w.write(ctx) })
	w.wg.Go(func() { w.read(ctx) })
	w.wg.Go(func() { w.sync(ctx) })
	e.t.Cleanup(func() { cancel(); w.wg.Wait() })
	return w
}

func (w *writer) write(ctx context.Context) {
	t := time.NewTicker(writeEvery)
	defer t.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		put, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		_, err := w.c.Put(put, "/app/"+strconv.Itoa(n), strconv.Itoa(n))
		cancel()
		w.mu.Lock()
		if err == nil {
			w.acked = append(w.acked, n)
		} else {
			w.failed = append(w.failed, err)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// read asks for a linearizable answer over and over. One that does not come
// within several election timeouts means that quorum was lost.
func (w *writer) read(ctx context.Context) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := w.readOnce(context.WithoutCancel(ctx)); err != nil {
			w.mu.Lock()
			w.reads = append(w.reads, err)
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

func (w *writer) readOnce(ctx context.Context) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		get, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = w.c.Get(get, "/app/0")
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (w *writer) sync(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = w.c.Sync(s) // tried again in a moment
		cancel()
	}
}

// count is how many writes were acknowledged so far.
func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// finish stops writing and checks that every acknowledged write is there, that
// quorum was never lost, and that enough was written to mean something.
func (w *writer) finish(atLeast int) {
	w.e.t.Helper()
	w.cancel()
	w.wg.Wait()
	t := w.e.t
	if len(w.reads) > 0 {
		t.Errorf("%d linearizable reads failed for 10 s, first: %v", len(w.reads), w.reads[0])
	}
	if len(w.acked) < atLeast {
		t.Errorf("only %d writes were acknowledged, %d failed; at least %d make the test mean something", len(w.acked), len(w.failed), atLeast)
	}
	have := map[string]string{}
	w.e.eventually("read everything back", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		resp, err := w.c.Get(ctx, "/app/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			have[string(kv.Key)] = string(kv.Value)
		}
		return nil
	})
	lost := 0
	for _, n := range w.acked {
		if have["/app/"+strconv.Itoa(n)] != strconv.Itoa(n) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(w.acked))
	}
	t.Logf("%d writes acknowledged, %d failed", len(w.acked), len(w.failed))
	for i, err := range w.failed {
		if i == 3 {
			break
		}
		t.Logf("a failed write: %v", err)
	}
}

// wrote waits until so many more writes were acknowledged.
func (w *writer) wrote(more int) {
	w.e.t.Helper()
	want := w.count() + more
	w.e.eventually("writes go on", func() error {
		if n := w.count(); n < want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
}

// put and get use one key as a tenant.
func put(t *testing.T, e *env, c api.Certificate, key, value string) {
	t.Helper()
	cl := e.connect(c, 1, 2, 3)
	e.eventually("put "+key, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := cl.Put(ctx, key, value)
		return err
	})
}

func get(t *testing.T, e *env, c api.Certificate, key string) string {
	t.Helper()
	cl := e.connect(c, 1, 2, 3)
	value := ""
	e.eventually("get "+key, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		resp, err := cl.Get(ctx, key)
		if err == nil && len(resp.Kvs) == 1 {
			value = string(resp.Kvs[0].Value)
		}
		return err
	})
	return value
}
