package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"cke/internal/config"
	"cke/internal/seal"
	"cke/internal/store"
)

func (a *App) openStore(ctx context.Context) error {
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the hostname: %w", err)
	}
	cfg := a.o.Config
	a.self = store.Candidate{
		Hostname: hostname, PID: os.Getpid(), Version: a.o.Version, Socket: cfg.Socket, Server: servedAt(cfg.Listen, hostname),
	}
	o := store.Options{Dir: cfg.DataDir, Log: a.log, Hostname: hostname, Self: a.self}
	if cfg.Store != nil {
		a.store, err = a.openShared(ctx, o)
		return err
	}
	key, err := a.sealKey()
	if err != nil {
		return err
	}
	if a.o.RestoreState != "" {
		if err := restoreState(ctx, cfg.DataDir, a.o.RestoreState, key, a.log); err != nil {
			return err
		}
	}
	o.Sealer = key
	a.store, err = store.Open(ctx, o)
	return err
}

// servedAt is where others reach the API; empty where it is served to this
// machine only.
func servedAt(l *config.Listen, hostname string) string {
	if l == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = hostname
	}
	return "https://" + net.JoinHostPort(host, port)
}

// openShared opens a store that lies elsewhere.
func (a *App) openShared(ctx context.Context, o store.Options) (*store.Store, error) {
	cfg := a.o.Config.Store
	tlsConfig, err := storeTLS(*cfg)
	if err != nil {
		return nil, err
	}
	link, err := store.Connect(ctx, store.Place{Endpoints: cfg.Endpoints, TLS: tlsConfig, Prefix: cfg.Prefix, Log: a.log})
	if err != nil {
		return nil, err
	}
	key, err := a.sharedKey(ctx, link)
	if err == nil && a.o.RestoreState != "" {
		err = restoreShared(ctx, link, a.o.RestoreState, key)
	}
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	o.Sealer = key
	return store.OpenShared(ctx, link, o)
}

// storeTLS reads the certificate anew for each connection, so that it can be
// renewed under the daemon. Nil where every endpoint is in the clear.
func storeTLS(s config.Store) (*tls.Config, error) {
	secure := false
	for _, e := range s.Endpoints {
		secure = secure || strings.HasPrefix(e, "https://")
	}
	if !secure {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("read the store's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the store's CA: %s holds no certificate", s.CA)
		}
	}
	if s.Certificate == "" {
		return c, nil
	}
	if err := notForAll(s.Key); err != nil {
		return nil, err
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
		if err != nil {
			return nil, fmt.Errorf("load cke's certificate for the store: %w", err)
		}
		return &pair, nil
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	_, err := load()
	return c, err
}

// notForAll refuses a key that every user of the machine can read or replace: whoever
// writes to the store owns the clusters.
func notForAll(key string) error {
	info, err := os.Stat(key)
	if err != nil {
		return fmt.Errorf("read the key of cke's certificate for the store: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return &hintError{
			fmt.Errorf("the key of cke's certificate for the store is everybody's: %s has mode %04o", key, mode),
			"chmod 0600 " + key,
		}
	}
	return nil
}

// sharedKey loads the key, or makes one for a store that does not exist yet. All
// daemons with one store need the same.
func (a *App) sharedKey(ctx context.Context, link *store.Link) (*seal.Key, error) {
	path := a.o.Config.KeyFile
	key, err := seal.LoadKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	id, idErr := link.SealKeyID(ctx)
	if idErr != nil {
		return nil, idErr
	}
	if id != "" || a.o.RestoreState != "" {
		return nil, &hintError{
			fmt.Errorf("the store's seal key is missing: %w", err),
			"copy the key file from a machine whose cke uses this store; without it the CA keys cannot be read. " +
				"If the store is another installation's, choose another store.prefix",
		}
	}
	return seal.CreateKey(path)
}

func restoreState(ctx context.Context, dir, file string, key *seal.Key, log *slog.Logger) error {
	return fromBackup(file, "move that directory away", func(r io.Reader) error { return store.Restore(ctx, dir, r, key, log) })
}

func restoreShared(ctx context.Context, link *store.Link, file string, key *seal.Key) error {
	return fromBackup(file, "choose another store.prefix, or delete the keys below this one while no cke runs",
		func(r io.Reader) error { return link.Restore(ctx, r, key) })
}

func fromBackup(file, away string, restore func(io.Reader) error) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open state backup: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = restore(f)
	if errors.Is(err, store.ErrExists) {
		return &hintError{
			fmt.Errorf("%s: %w", file, err),
			"to go on with the store that is there, start without --restore-state; to begin from the backup instead, " + away,
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// sealKey loads the key, or makes one for a store that does not exist yet. A
// store without its key is useless, and a new key would only hide that.
func (a *App) sealKey() (*seal.Key, error) {
	cfg := a.o.Config
	key, err := seal.LoadKey(cfg.KeyFile)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	present, pErr := store.Present(cfg.DataDir)
	if pErr != nil {
		return nil, pErr
	}
	if a.o.RestoreState != "" || present {
		return nil, &hintError{
			fmt.Errorf("the store's seal key is missing: %w", err),
			"put the key file this store was made with back; without it the CA keys cannot be read",
		}
	}
	return seal.CreateKey(cfg.KeyFile)
}
