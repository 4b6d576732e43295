// Package etcd is the client of a managed cluster. It keeps one connection per
// member, asks each for itself, and carries out the few mutations CKE needs.
// Every call is bounded by its context, none is retried: an unknown outcome is
// for the caller to observe.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"cke/internal/cluster"
)

// ErrNoMember says that no known member could be asked.
var ErrNoMember = errors.New("no member of the cluster can be asked")

// Options for New.
type Options struct {
	// TLS is asked anew for each connection; it carries root's certificate.
	TLS *tls.Config
	Log *slog.Logger
	// Until is the moment that no change may outlive; nil, or the zero time, for
	// none. It moves on while this cke leads.
	Until func() time.Time
	// Late is told when a member has answered that a look did not wait for; nil for
	// nobody.
	Late func()
}

// Client speaks to one cluster as root. It is safe for concurrent use.
type Client struct {
	opts Options

	mu      sync.Mutex
	conns   map[string]*clientv3.Client // by client URL
	auth    authCache
	via     Endpoint          // whom Observe asked for what all share the last time
	answers map[Endpoint]bool // who answered Observe the last time
	aside   map[Endpoint]*pending

	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	asking sync.WaitGroup // the questions aside
}

// New returns a client that knows no member yet.
func New(o Options) *Client {
	if o.Until == nil {
		o.Until = func() time.Time { return time.Time{} }
	}
	if o.Late == nil {
		o.Late = func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Client{
		opts: o, conns: map[string]*clientv3.Client{}, answers: map[Endpoint]bool{}, aside: map[Endpoint]*pending{}, ctx: ctx, stop: stop,
	}
}

// Close ends all connections.
func (c *Client) Close() error {
	c.stop()
	c.asking.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for url, conn := range c.conns {
		errs = append(errs, conn.Close())
		delete(c.conns, url)
	}
	return errors.Join(errs...)
}

// Keep closes the connections to all but these members.
func (c *Client) Keep(urls []string) {
	keep := map[string]bool{}
	for _, u := range urls {
		keep[u] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for url, conn := range c.conns {
		if keep[url] {
			continue
		}
		if err := conn.Close(); err != nil {
			c.opts.Log.Debug("close connection", "url", url, "err", err)
		}
		delete(c.conns, url)
		delete(c.answers, Endpoint(url))
	}
}

func (c *Client) conn(url string) (*clientv3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn, ok := c.conns[url]; ok {
		return conn, nil
	}
	conn, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{url},
		TLS:                  c.opts.TLS,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: c.opts.ackPatience(),
		MaxUnaryRetries:      1,
		Logger:               zap.New(zapcore.NewNopCore()), // every error reaches the caller
		DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(led(c.opts.Until)),
			grpc.WithConnectParams(grpc.ConnectParams{
				// A member that restarts is back within a second; gRPC's default
				// would look again only minutes later.
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
				MinConnectTimeout: 5 * time.Second,
			}),
			// gRPC's default is 32 KiB for each member of each cluster. A snapshot's
			// frames are larger than this and go past the buffer.
			grpc.WithReadBufferSize(4 << 10),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	c.conns[url] = conn
	return conn, nil
}

// Endpoint is a member's client URL, and the connection mutations go through.
type Endpoint string

// Of returns the client URL of the member that advertises this peer URL, among nodes.
func Of(nodes []cluster.Node, peerURL string) (Endpoint, bool) {
	for _, n := range nodes {
		if n.PeerURL() == peerURL {
			return Endpoint(n.ClientURL()), true
		}
	}
	return "", false
}
