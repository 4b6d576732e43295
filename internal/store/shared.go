package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// sharedPatience bounds each call to a store elsewhere.
	sharedPatience = 5 * time.Second
	// openPatience bounds the first.
	openPatience = 15 * time.Second
	// sharedBatch keeps a restore's transactions below etcd's default
	// --max-txn-ops, one for the marker included.
	sharedBatch = 100
)

// Place is an etcd elsewhere that keeps CKE's state.
type Place struct {
	Endpoints []string
	TLS       *tls.Config // nil: in the clear
	// Prefix is what every key begins with. With "/cke/" the keys are those of a
	// store of CKE's own; below any other they lie in cke/.
	Prefix string
	Log    *slog.Logger
}

// below is what stands before the keys that a store of CKE's own would have.
func (p Place) below() string {
	if before, ok := strings.CutSuffix(p.Prefix, root); ok {
		return before
	}
	return strings.TrimSuffix(p.Prefix, "/")
}

func (p Place) String() string { return "store " + strings.Join(p.Endpoints, ",") + " " + p.Prefix }

// Link is a connection to a Place. OpenShared takes it over.
type Link struct {
	place  Place
	client *clientv3.Client
}

// Connect reaches an etcd elsewhere. *UnreachableError: nobody there answers.
func Connect(ctx context.Context, p Place) (*Link, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: p.Endpoints, TLS: p.TLS,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Logger: zap.NewNop(), // every error reaches the caller
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// A store that was away is used again at once; gRPC's default waits minutes.
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p, err)
	}
	if below := p.below(); below != "" {
		c.KV = namespace.NewKV(c.KV, below)
		c.Watcher = namespace.NewWatcher(c.Watcher, below)
		c.Lease = namespace.NewLease(c.Lease, below)
	}
	l := &Link{place: p, client: c}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	if _, err := c.Get(ctx, keyEpoch, clientv3.WithKeysOnly()); err != nil {
		return nil, errors.Join(&UnreachableError{Place: p.String(), Err: err}, l.Close())
	}
	return l, nil
}

// SealKeyID is the id of the key the store there was founded with; empty when
// there is none yet.
func (l *Link) SealKeyID(ctx context.Context) (string, error) {
	s := l.store(Options{})
	id, err := get[string](ctx, s, keySealKey)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read id of the store's seal key: %w", err)
	}
	return id, nil
}

// Close ends the connection.
func (l *Link) Close() error { return closeClient(l.client) }

func closeClient(c *clientv3.Client) error {
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close store client: %w", err)
	}
	return nil
}

func (l *Link) store(o Options) *Store {
	s := newStore(o, l.place.String())
	s.client, s.patience, s.migrations = l.client, sharedPatience, migrations()
	return s
}

// OpenShared opens the store at the other end of a link, which is the store's
// from then on, whatever comes of it. It changes nothing there: that is for who
// leads. The data directory is this daemon's alone, as with a store of its own.
// Errors: *LockedError, *EmbeddedError, *SchemaError, *SealKeyError.
func OpenShared(ctx context.Context, l *Link, o Options) (_ *Store, err error) {
	s := l.store(o)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lock, err = enterDir(o.Dir); err != nil {
		return nil, err
	}
	if there, err := Present(o.Dir); err != nil {
		return nil, err
	} else if there {
		return nil, &EmbeddedError{Dir: o.Dir}
	}
	if _, err := s.checkSchema(ctx, len(s.migrations)); err != nil {
		return nil, err
	}
	if err := s.checkSealKey(ctx); err != nil {
		return nil, err
	}
	if err := s.identify(ctx); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return s, nil
}

// EmbeddedError: the data directory holds a store of CKE's own.
type EmbeddedError struct{ Dir string }

func (e *EmbeddedError) Error() string {
	return fmt.Sprintf("data directory %s holds a store of cke's own, and the configuration names another", e.Dir)
}

// Hint says what to do.
func (e *EmbeddedError) Hint() string {
	return fmt.Sprintf("to take its state along: without store in the configuration, ckecli state backup FILE, then stop cke, "+
		"mv %[1]s %[1]s.moved, and with it cke --restore-state FILE", storeDir(e.Dir))
}

// UnreachableError: the etcd that keeps CKE's state does not answer.
type UnreachableError struct {
	Place string
	Err   error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("reach %s: %v", e.Place, e.Err) }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *UnreachableError) Hint() string {
	return "look at that etcd, and at store in the configuration: its endpoints and certificates"
}
