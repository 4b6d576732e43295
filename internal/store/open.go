package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Sealer encrypts what may not lie on a disk in the clear. Context binds a
// sealed value to the key it lies under.
type Sealer interface {
	Seal(plaintext []byte, context string) ([]byte, error)
	Open(sealed []byte, context string) ([]byte, error)
	// ID names the key and gives nothing of it away.
	ID() string
}

// Options say where the store lies and what it needs.
type Options struct {
	// Dir is the data directory; made with mode 0700 when missing. The store
	// keeps `lock` and `store/` in it and leaves other files alone.
	Dir    string
	Sealer Sealer
	Log    *slog.Logger
	// Hostname is written beside the epoch, for people.
	Hostname string
	// Self is what other daemons with the same store are told of this one.
	Self Candidate
	// Now is time.Now when nil.
	Now func() time.Time

	quota int64 // bytes; 0 is quotaBytes
}

// Store is an open store. Its methods may be called from many goroutines.
type Store struct {
	dir      string
	sealer   Sealer
	log      *slog.Logger
	hostname string
	now      func() time.Time

	self     Candidate
	place    string        // what it is called in errors
	patience time.Duration // bounds each call; 0: a store inside this process answers or ends
	// migrations are what a leader may have to do first.
	migrations []migration

	lock     *os.File
	embedded *embedded // nil when the store is elsewhere
	client   *clientv3.Client

	id     atomic.Pointer[string]
	tenure atomic.Pointer[Tenure] // nil while another leads

	ctx       context.Context // ends with the store
	cancel    context.CancelCauseFunc
	watchers  sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// storeDir is the etcd's directory within a data directory.
func storeDir(dir string) string { return filepath.Join(dir, "store") }

// Open opens the store in o.Dir, or makes a new one, and raises its epoch.
// Errors: *LockedError, *CorruptError, *StartError, *SchemaError, *SealKeyError.
func Open(ctx context.Context, o Options) (*Store, error) {
	return openWith(ctx, o, migrations())
}

func openWith(ctx context.Context, o Options, steps []migration) (_ *Store, err error) {
	if o.Sealer == nil {
		return nil, errors.New("open store: no seal key given")
	}
	s := newStore(o, "store "+o.Dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lock, err = enterDir(o.Dir); err != nil {
		return nil, err
	}
	if err := removeUnfinishedRestores(o.Dir); err != nil {
		return nil, err
	}
	if err := verifyFiles(storeDir(o.Dir)); err != nil {
		return nil, err
	}
	if s.embedded, err = startEmbedded(ctx, storeDir(o.Dir), o.quota, s.log); err != nil {
		return nil, err
	}
	s.client = s.embedded.client
	if err := errors.Join(syncTree(storeDir(o.Dir)), syncDir(o.Dir)); err != nil {
		return nil, err
	}
	if err := s.enter(ctx, steps); err != nil {
		return nil, err
	}
	go s.endOnFailure()
	return s, nil
}

// enterDir makes a data directory this process's.
func enterDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	return lockDir(dir)
}

func newStore(o Options, place string) *Store {
	s := &Store{
		dir: o.Dir, place: place, self: o.Self, sealer: o.Sealer, log: o.Log, hostname: o.Hostname, now: o.Now,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// enter makes a started store ours: what it is, whether we may, and from when.
func (s *Store) enter(ctx context.Context, steps []migration) error {
	version, err := s.checkSchema(ctx, len(steps))
	if err != nil {
		return err
	}
	if err := s.checkSealKey(ctx); err != nil {
		return err
	}
	if err := s.regainSpace(ctx); err != nil {
		return err
	}
	if err := s.claimEpoch(ctx, nil); err != nil {
		return err
	}
	if err := s.migrate(ctx, version, steps); err != nil {
		return err
	}
	return s.identify(ctx)
}

func (s *Store) identify(ctx context.Context) error {
	id, err := get[string](ctx, s, keyStoreID)
	if err != nil {
		return fmt.Errorf("read store id: %w", err)
	}
	s.id.Store(&id)
	return nil
}

// endOnFailure ends every call and watch when etcd can no longer serve.
func (s *Store) endOnFailure() {
	select {
	case <-s.embedded.fatal.done:
		s.cancel(fmt.Errorf("store %s stopped: %w", s.dir, s.embedded.fatal.Err()))
	case <-s.embedded.etcd.Server.StopNotify():
		s.cancel(fmt.Errorf("store %s stopped", s.dir))
	case <-s.ctx.Done():
	}
}

// Done is closed when the store was closed or can no longer serve, as after a
// disk that ran full; Err then says why.
func (s *Store) Done() <-chan struct{} { return s.ctx.Done() }

// Err is nil while the store serves, and ErrClosed after Close.
func (s *Store) Err() error { return context.Cause(s.ctx) }

// ID is random, made once per store, and never changes. Empty: a shared store
// that no daemon has led yet.
func (s *Store) ID() string {
	if id := s.id.Load(); id != nil {
		return *id
	}
	return ""
}

// Epoch is higher than that of every earlier tenure; 0 while another leads.
func (s *Store) Epoch() int64 {
	if t := s.tenure.Load(); t != nil {
		return t.Epoch()
	}
	return 0
}

// Shared says whether the store is an etcd elsewhere, which other daemons may
// use too.
func (s *Store) Shared() bool { return s.embedded == nil }

// Close stops the store and gives the directory free. Watches end first.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.cancel(ErrClosed)
		s.watchers.Wait()
		if s.embedded != nil {
			s.closeErr = s.embedded.stop()
		} else if s.client != nil {
			s.closeErr = closeClient(s.client)
		}
		if s.lock != nil {
			s.closeErr = errors.Join(s.closeErr, s.lock.Close())
		}
	})
	return s.closeErr
}
