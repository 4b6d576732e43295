package hosts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/test/drive"
	"cke/test/lab"
)

// gatewayTo is a gateway that leads to one machine's member.
func gatewayTo(m *lab.Machine) cluster.Gateway {
	return cluster.Gateway{Cluster: "main", Port: cluster.DefaultGatewayPort, Upstreams: []cluster.Upstream{
		{Node: cluster.NodeName(m.Name()), Address: netip.AddrPortFrom(m.Addr(), cluster.ClientPort)},
	}}
}

// clientFiles are a certificate that is its own authority, and where kubeadm
// would have it.
func clientFiles(t *testing.T) host.PutClientFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cluster.APIServerUser},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, errCert := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	der, errKey := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(errCert, errKey); err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return host.PutClientFiles{
		Cluster: "main", CA: text, Cert: text, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		Files: cluster.ClientFiles{Directory: cluster.DefaultClientDirectory, Owner: "root", Group: "root", Mode: "0600"},
	}
}

// TestGatewayOutlivesAPowerCut: what a machine was told of a gateway and a client
// certificate is there after its power failed right behind the answer, and the
// gateway runs from boot on, with nobody of CKE's about.
func TestGatewayOutlivesAPowerCut(t *testing.T) {
	m := lab.Start(t, 1).Machine(1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(filepath.Join(drive.Programs(t), "cke-host"))
	must(err)
	const path = "/usr/local/bin/cke-host"
	must(m.WriteFile(ctx, path, program, "0755"))
	_, err = m.Exec(ctx, "sync") // the helper's own file is not what this is about
	must(err)
	me := host.Identity{StoreID: "a-store", Epoch: 1}
	h, list, client := helperOf(t, m, path, me), gatewayTo(m), clientFiles(t)
	must(h.PutClientFiles(ctx, client))
	must(h.PutGateway(ctx, list))
	must(m.PowerCut())
	must(m.On())
	if out, err := m.Exec(ctx, "sh", "-c", "until systemctl is-active --quiet cke-gateway.service; do sleep 0.1; done; systemctl show --value -p NRestarts cke-gateway.service"); err != nil || strings.TrimSpace(out) != "0" {
		t.Errorf("the gateway after a boot: %q restarts: %v", out, err)
	}
	f, err := helperOf(t, m, path, me).Facts(ctx, "main", m.Addr())
	must(err)
	if g := f.Gateway; g == nil || !g.Running || !g.Applied || len(g.Gateway.Upstreams) != 1 || g.Gateway.Upstreams[0] != list.Upstreams[0] {
		t.Errorf("after a power cut: %+v", g)
	}
	if c := f.Client; c == nil || !c.KeyFits || len(c.Drift) > 0 || string(c.Cert) != string(client.Cert) {
		t.Errorf("after a power cut: %+v", c)
	}
}
