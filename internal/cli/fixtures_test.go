package cli

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
)

// healthyStatus is a cluster of three with a spare, all well.
func healthyStatus() api.Status {
	member := func(id cluster.MemberID, name, address string, leader bool) *cluster.Member {
		return &cluster.Member{
			ID: id, Name: name, PeerURL: "https://" + address + ":2380", Healthy: true, Leader: leader,
			Version: "3.7.3", RaftIndex: 12345, RaftApplied: 12345, RaftTerm: 3, DBSize: 21 << 20,
		}
	}
	node := func(name, address string, m *cluster.Member) api.NodeStatus {
		return api.NodeStatus{
			Hostname: cluster.NodeName(name), Address: address, ControlPlane: true, Reachable: true, Transport: "ssh", Login: "cke@" + address + ":22", Member: m,
		}
	}
	return api.Status{
		Cluster: "main", Healthy: true, Settled: true, Phase: cluster.PhaseBootstrapped, ClusterID: 0xc1,
		Quorum: true, Tolerance: 1, AuthOn: true, ObservedAt: start(), SpecRevision: 1,
		Nodes: []api.NodeStatus{
			node("cp1", "10.77.0.11", member(0x8e9e05c52164694d, "cp1", "10.77.0.11", true)),
			node("cp2", "10.77.0.12", member(0x91bc3c398fb3c146, "cp2", "10.77.0.12", false)),
			node("cp3", "10.77.0.13", member(0xfd422379fda50e48, "cp3", "10.77.0.13", false)),
			node("cp4", "10.77.0.14", nil),
		},
	}
}

// certificateFor is the same for the same arguments.
func certificateFor(user string, ttl time.Duration) api.Certificate {
	ca := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	key := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), 1))
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: start(), NotAfter: start().AddDate(30, 0, 0),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user},
		NotBefore: start(), NotAfter: start().Add(ttl),
	}
	return api.Certificate{
		CACertificate: signed(parent, parent, ca.Public(), ca),
		Certificate:   signed(leaf, parent, key.Public(), ca),
		PrivateKey:    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})),
	}
}

func signed(c, parent *x509.Certificate, public any, signer ed25519.PrivateKey) string {
	der := must(x509.CreateCertificate(nil, c, parent, public, signer))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
