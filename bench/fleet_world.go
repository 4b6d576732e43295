package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/host"
	"cke/internal/pki"
	"cke/internal/seal"
	"cke/internal/store"
)

// world is a fleet of simulated clusters: each machine answers over SSH as a
// helper on a machine with a healthy member does, each member over gRPC and TLS
// as an etcd does. Nothing of them runs but the answers, and all that cke does to
// get them is real.
type world struct {
	members map[netip.Addr]*simulated
	login   loginKeys
	storeID string
	epoch   int64
}

// simulated is one machine and the member on it.
type simulated struct {
	of    *simulatedCluster
	node  cluster.Node
	id    cluster.MemberID
	facts host.Facts
	tls   tlsFiles
}

type simulatedCluster struct {
	name      string
	id        cluster.ClusterID
	authority pki.Authority
	members   []*simulated
}

// tlsFiles is what a member's listener needs.
type tlsFiles struct{ cert, key, clientCA []byte }

// newWorld makes a fleet, and CKE's store in dir that knows all of it.
func newWorld(ctx context.Context, dir string, clusters int) (_ *world, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &world{members: map[netip.Addr]*simulated{}}
	if w.login, err = newLogin(dir); err != nil {
		return nil, err
	}
	key, err := seal.CreateKey(filepath.Join(dir, "seal.key"))
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Options{Dir: filepath.Join(dir, "data"), Sealer: key})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w.storeID, w.epoch = s.ID(), s.Epoch()
	for n := range clusters {
		if err := w.found(ctx, s, n); err != nil {
			return nil, fmt.Errorf("make cluster %d: %w", n, err)
		}
	}
	return w, nil
}

// fleetName names a cluster of the fleet.
func fleetName(n int) string { return fmt.Sprintf("fleet-%04d", n) }

// fleetAddress is that of member i of cluster n.
func fleetAddress(n, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 200, byte(n / 60), byte(1 + n%60*3 + i)})
}

// found writes down a cluster as one that was founded long ago.
func (w *world) found(ctx context.Context, s *store.Store, n int) error {
	c := &simulatedCluster{name: fleetName(n), id: cluster.ClusterID(1000 + n)}
	text := "name: " + c.name + "\nnodes:\n"
	for i := range 3 {
		text += fmt.Sprintf("  - {address: %s, hostname: %s-%d, control_plane: true, user: cke, port: %d, host_key: %q}\n",
			fleetAddress(n, i), c.name, i+1, fleetSSH, w.login.fingerprint)
	}
	parsed, _, err := config.ParseCluster("cluster.yml", []byte(text))
	if err != nil {
		return err
	}
	if c.authority, err = pki.NewAuthority(c.name, time.Now()); err != nil {
		return err
	}
	stored := map[string]store.Authority{}
	for _, role := range pki.Roles() {
		ca := c.authority.CA(role)
		stored[string(role)] = store.Authority{Cert: ca.CertPEM(), Key: ca.KeyPEM()}
	}
	if err := s.CreateCAs(ctx, c.name, stored); err != nil {
		return err
	}
	if _, _, err := s.PutSpec(ctx, parsed, 0); err != nil {
		return err
	}
	b := cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: c.name}
	spec := parsed.WithDefaults()
	for _, node := range spec.Nodes {
		id := cluster.BootstrapMemberID(b.Token, node.PeerURL())
		b.Founders = append(b.Founders, cluster.Founder{Node: node, Member: id})
		m := &simulated{of: c, node: node, id: id}
		if err := m.equip(w, spec); err != nil {
			return err
		}
		c.members = append(c.members, m)
		w.members[node.Address] = m
	}
	if err := s.AdvanceBootstrap(ctx, c.name, cluster.PhaseNew, b); err != nil {
		return err
	}
	b.Phase, b.ClusterID = cluster.PhaseBootstrapped, c.id
	return s.AdvanceBootstrap(ctx, c.name, cluster.PhaseBootstrapping, b)
}

// equip gives a machine what CKE would have put there.
func (m *simulated) equip(w *world, spec cluster.Spec) error {
	set, err := m.of.authority.MemberSet(spec, m.node, time.Now())
	if err != nil {
		return err
	}
	m.tls = tlsFiles{set.ServerCert, set.ServerKey, set.ClientCA}
	unit := cluster.Unit{
		Cluster: spec.Name, Node: m.node.Hostname, Member: m.id, Address: m.node.Address, Version: spec.Etcd.Version, Quota: spec.Etcd.Quota,
	}
	m.facts = host.Facts{
		Versions: []string{spec.Etcd.Version},
		Unit:     &cluster.UnitState{Unit: unit, Running: true, Started: &unit, Sealed: true},
		Data:     []cluster.DataDir{{Member: m.id, WAL: true, Mark: true, Bytes: 64 << 20}},
		Public: map[host.FileKind][]byte{
			host.ServerCert: set.ServerCert, host.PeerCert: set.PeerCert,
			host.ClientCA: set.ClientCA, host.PeerCA: set.PeerCA, host.ClientCRL: set.CRL,
		},
		KeyFits: map[host.FileKind]bool{host.ServerKey: true, host.PeerKey: true},
		StoreID: w.storeID, Epoch: w.epoch, Free: 100 << 30, Helper: "devel",
		Hostname: string(m.node.Hostname), Runtime: string(cluster.RuntimeSystemd), Arch: "amd64",
	}
	return nil
}
