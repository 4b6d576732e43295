package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/execute"
	"cke/internal/observe"
	"cke/internal/pki"
	"cke/internal/reconcile"
	"cke/internal/seal"
	"cke/internal/store"
)

// care is everything that serves one cluster.
type care struct {
	name      string
	authority pki.Authority
	etcd      *etcd.Client
	observer  *observe.Observer
	loop      *reconcile.Loop
	progress  *execute.Progress
	export    *export
}

func (c *care) close() error {
	c.observer.Close()
	return c.etcd.Close()
}

// newCare makes what serves a cluster; none of it runs yet.
func (a *App) newCare(ctx context.Context, t *term, name string) (*care, error) {
	authority, err := loadAuthority(ctx, a.store, name)
	if err != nil {
		return nil, err
	}
	root := &rootCertificate{ca: authority.Client, now: time.Now}
	tlsConfig, err := root.tls(authority.Server)
	if err != nil {
		return nil, &sickError{err}
	}
	log := a.log.With("cluster", name)
	c := &care{name: name, authority: authority, progress: execute.NewProgress()}
	client := etcd.New(etcd.Options{TLS: tlsConfig, Log: log, Until: t.tenure.Until, Late: func() { c.loop.Wake() }})
	out := &export{a: a, cluster: name, authority: authority, until: t.tenure.Until}
	observer := observe.New(observe.Options{
		Newest: &a.newest, Proves: a.store.Proves,
		Hosts: a.hosts, Etcd: client, Authority: authority, Identity: a.identity,
		Releases: a.shelf.Have, Published: out.published, SnapshotHere: snapshotHere, Boot: a.boot, Now: time.Now, Log: log,
	})
	c.etcd, c.observer, c.export = client, observer, out
	c.loop = reconcile.New(reconcile.Options{
		Cluster: name, Store: loopStore{a.store}, Observer: observer, Etcd: client, Hosts: a.hosts,
		Executor: execute.New(execute.Options{
			Cluster: name, Store: a.store, Hosts: a.hosts, Etcd: client, Observer: observer,
			Authority: authority, Releases: a.shelf, Progress: c.progress, Snapshots: filepath.Join(a.o.Config.DataDir, "snapshots"), Hostname: a.self.Hostname,
			Wants: loopStore{a.store}.wants(name),
			Boot:  a.boot, Now: time.Now, Log: log, Before: a.o.Before, After: a.o.After, Outcome: a.o.Outcome,
		}),
		Epoch: t.tenure.Epoch(), Interval: a.o.Config.Interval.Std(), Now: time.Now, Log: log,
	})
	return c, nil
}

// storeFails ends a daemon whose own store has failed. One elsewhere comes back.
func (a *App) storeFails(t *term, err error) {
	if a.store.Shared() {
		t.cancel(err)
		return
	}
	a.fail(err)
}

// loopStore gives the loop the store in its own words.
type loopStore struct{ *store.Store }

func (s loopStore) Load(ctx context.Context, name string) (reconcile.Wanted, error) {
	snap, err := s.Store.Load(ctx, name)
	return reconcile.Wanted{
		Wanted: observe.Wanted{
			Spec: snap.Spec.WithDefaults(), Bootstrap: snap.Bootstrap, Users: snap.Users, RemovedUsers: snap.RemovedUsers, Bundles: snap.Bundles,
			Leaving: snap.Leaving, Left: snap.Left, Paused: snap.Paused, Defrag: snap.Defrag, Restart: snap.Restart, Snapshot: snap.Snapshot,
			Drains: snap.Drains, Reboot: snap.Reboot,
		},
		Revision: snap.Revision,
	}, err
}

// wants asks the store what is wanted now.
func (s loopStore) wants(name string) execute.Wants {
	return func(ctx context.Context) (observe.Wanted, error) {
		w, err := s.Load(ctx, name)
		return w.Wanted, err
	}
}

// sickError: what the store has of one cluster is damaged. The others are cared for.
type sickError struct{ error }

func (e *sickError) Unwrap() error { return e.error }

// Hint says what to do.
func (e *sickError) Hint() string {
	return "its members go on; cke's state of it is damaged: start cke from a backup of its state, with --restore-state"
}

func loadAuthority(ctx context.Context, s *store.Store, name string) (pki.Authority, error) {
	var a pki.Authority
	var roles []string
	for _, role := range pki.Roles() {
		roles = append(roles, string(role))
	}
	stored, err := s.CAs(ctx, name, roles)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, seal.ErrTampered) || errors.Is(err, seal.ErrWrongKey) {
		return a, &sickError{err}
	}
	if err != nil {
		return a, err
	}
	into := map[pki.Role]**pki.CA{pki.Server: &a.Server, pki.Peer: &a.Peer, pki.Client: &a.Client}
	for _, role := range pki.Roles() {
		one := stored[string(role)]
		if *into[role], err = pki.LoadCA(role, one.Cert, one.Key); err != nil {
			return a, &sickError{fmt.Errorf("load the %s CA of cluster %s: %w", role, name, err)}
		}
	}
	return a, nil
}

// createAuthority makes a new cluster's CAs and stores them sealed, unless an
// interrupted attempt has done so already.
func createAuthority(ctx context.Context, s *store.Store, name string, now time.Time) error {
	a, err := pki.NewAuthority(name, now)
	if err != nil {
		return err
	}
	roles := map[string]store.Authority{}
	for _, role := range pki.Roles() {
		ca := a.CA(role)
		roles[string(role)] = store.Authority{Cert: ca.CertPEM(), Key: ca.KeyPEM()}
	}
	if err := s.CreateCAs(ctx, name, roles); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	return nil
}

// rootTTL is how long a certificate of root lives, CKE's own included.
const rootTTL = 2 * time.Hour

// rootCertificate is CKE's own certificate of root: made in memory, never
// written, renewed at half its life.
type rootCertificate struct {
	ca  *pki.CA
	now func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	renew   time.Time
}

func (r *rootCertificate) tls(server *pki.CA) (*tls.Config, error) {
	first, err := r.ca.Issue(pki.ClientRequest(cluster.RootUser, rootTTL), r.now())
	if err != nil {
		return nil, fmt.Errorf("issue CKE's own certificate: %w", err)
	}
	cfg, err := pki.ClientTLS(first, server)
	if err != nil {
		return nil, err
	}
	cfg.Certificates = nil
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.get() }
	return cfg, nil
}

func (r *rootCertificate) get() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil && r.now().Before(r.renew) {
		return r.current, nil
	}
	c, err := r.ca.Issue(pki.ClientRequest(cluster.RootUser, rootTTL), r.now())
	if err != nil {
		return nil, fmt.Errorf("issue CKE's own certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(c.CertPEM, c.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("use CKE's own certificate: %w", err)
	}
	r.current, r.renew = &pair, r.now().Add(rootTTL/2)
	return r.current, nil
}
