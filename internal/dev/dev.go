// Package dev is `cke dev`: a cluster of local processes below one directory,
// for trying CKE out and for developing against a real etcd with TLS and RBAC.
// It is the same daemon as in production, with everything else decided for you.
package dev

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/units"
)

// ClusterName is the name of the one cluster.
const ClusterName = "main"

// Options are what `cke dev` may be told.
type Options struct {
	Dir   string     // everything lies below it
	Nodes int        // how many members the first cluster.yml has
	First netip.Addr // the first node's loopback address; the others count up
	// Binaries is where etcd lies; beside cke itself unless told otherwise.
	Binaries string
	// RestoreState is a backup of CKE's own state to begin from; empty for none.
	RestoreState string
}

// Config is the daemon's configuration below the directory.
func (o Options) Config() (config.Daemon, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return config.Daemon{}, fmt.Errorf("find directory %s: %w", o.Dir, err)
	}
	return config.Daemon{
		DataDir: filepath.Join(dir, "state"),
		KeyFile: filepath.Join(dir, "seal.key"),
		Socket:  filepath.Join(dir, "cke.sock"),
		Local:   config.Local{Root: filepath.Join(dir, "nodes"), Releases: filepath.Join(dir, "releases")},
	}.WithDefaults(), nil
}

// Spec is the first cluster.yml.
func (o Options) Spec() (cluster.Spec, error) {
	s := cluster.Spec{
		Name: ClusterName, Etcd: cluster.Etcd{Quota: units.Size(2 << 30)},
		// All members share one disk with everything else that goes on here, and nobody
		// relies on how fast they are.
		Preflight: cluster.Preflight{MaxFsync: units.Duration(10 * time.Second)},
	}
	if o.Nodes < 1 {
		return s, fmt.Errorf("a cluster of %d nodes is none; --nodes takes 1 or more", o.Nodes)
	}
	a := o.First
	for i := range o.Nodes {
		if !a.IsLoopback() {
			return s, fmt.Errorf("%s is no loopback address; --first-address takes one with room for %d nodes", a, o.Nodes)
		}
		s.Nodes = append(s.Nodes, cluster.Node{Address: a, Hostname: cluster.NodeName(fmt.Sprintf("cp%d", i+1)), ControlPlane: true})
		a = a.Next()
	}
	return s.WithDefaults(), nil
}

// Prepare makes the directory and puts etcd where the nodes find it.
func (o Options) Prepare() (err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	from, err := o.etcd()
	if err != nil {
		return err
	}
	s, err := o.Spec()
	if err != nil {
		return err
	}
	return copyProgram(from, filepath.Join(o.Dir, "releases", "v"+s.Etcd.Version, "etcd"))
}

func (o Options) etcd() (string, error) {
	dir := o.Binaries
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find this program: %w", err)
		}
		dir = filepath.Dir(self)
	}
	path := filepath.Join(dir, "etcd")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find etcd beside cke (make build puts it there): %w", err)
	}
	return path, nil
}

// copyProgram copies once: a release is never changed under a running member.
func copyProgram(from, to string) error {
	want, err := digest(from)
	if err != nil {
		return err
	}
	have, err := digest(to)
	if err == nil && have == want {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("make releases directory: %w", err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read etcd: %w", err)
	}
	tmp := to + ".new"
	if err := os.WriteFile(tmp, data, 0o755); err != nil { //nolint:gosec // a program is run by everyone
		return fmt.Errorf("copy etcd: %w", err)
	}
	return os.Rename(tmp, to)
}

func digest(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, fmt.Errorf("read %s: %w", path, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// EnsureCluster gives a daemon without any cluster its first one, and leaves the
// cluster.yml for the user to edit.
func (o Options) EnsureCluster(ctx context.Context) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	list, err := c.Clusters(ctx)
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	if len(list) > 0 {
		return nil
	}
	spec, err := o.Spec()
	if err != nil {
		return err
	}
	yaml, err := config.MarshalCluster(spec)
	if err != nil {
		return err
	}
	file := filepath.Join(o.Dir, "cluster.yml")
	if err := os.WriteFile(file, yaml, 0o600); err != nil {
		return fmt.Errorf("write cluster.yml: %w", err)
	}
	if _, err := c.PutSpec(ctx, file, yaml); err != nil {
		return fmt.Errorf("set the first cluster: %w", err)
	}
	return nil
}

func (o Options) client() (*api.Client, error) {
	cfg, err := o.Config()
	if err != nil {
		return nil, err
	}
	return api.NewClient("unix://"+cfg.Socket, api.ClientTLS{})
}
